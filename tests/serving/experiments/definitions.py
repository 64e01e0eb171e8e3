"""Small experiments for tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streams.experiments.definition import Definition, Experiment, Patch, Span, Variant
from streams.experiments.metric import Measure, Metric

WHOLE = 1 << 64


def definition(
    name: str = "exp", weights: Sequence[float] = (0.5, 0.5), patch: Patch | None = None, **fields: Any
) -> Definition:
    """Return a definition of variants `v0`, `v1`, …; the last has the patch."""
    variants = tuple(Variant(f"v{n}", weight) for n, weight in enumerate(weights))
    if patch is not None:
        variants = (*variants[:-1], Variant(variants[-1].key, variants[-1].weight, patch))
    values: dict[str, Any] = {
        "hypothesis": "It is better",
        "owner": "team",
        "variants": variants,
        "metrics": (Metric("plays", "count", Measure(("play",))),),
        "primary": "plays",
        "mde": 0.02,
    }
    return Definition(name, **(values | fields))


def running(
    name: str = "exp",
    weights: Sequence[float] = (0.5, 0.5),
    patch: Patch | None = None,
    *,
    spans: Sequence[tuple[int, int]] = ((0, WHOLE),),
    salt: str = "salt",
    **fields: Any,
) -> Experiment:
    """Return a running experiment of these spans, of all members by default."""
    started_at_ms = fields.pop("started_at_ms", 1_000)
    return Experiment(
        definition(name, weights, patch, **fields),
        "running",
        salt=salt,
        spans=tuple(Span(begin, end) for begin, end in spans),
        traffic=sum(end - begin for begin, end in spans) / WHOLE,
        started_at_ms=started_at_ms,
    )
