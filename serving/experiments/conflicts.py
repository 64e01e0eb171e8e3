"""Experiments that cannot run side by side: both change the same thing of a page, or claim the same members."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import msgspec

from streams.experiments.definition import Definition, Experiment, Patch


class Conflict(msgspec.Struct, frozen=True):
    """Two experiments, the one that started first named first, and why members cannot be in both.

    field: of the definition, where the remedy is.
    """

    first: str
    then: str
    field: str
    why: str


def layer_of(definition: Definition) -> str:
    """Return the layer that an experiment's members are of: by name, or its own."""
    return definition.layer or definition.id


def patched_fields(patch: Patch) -> frozenset[str]:
    """Return the names of what a patch changes.

    >>> sorted(patched_fields(Patch(model="candidate", params={"row_size": 12})))
    ['model', 'params.row_size']
    """
    whole = {name for name in ("model", "rows", "page_ttl_s") if getattr(patch, name) is not None}
    weights = {f"row_weights.{kind}" for kind in patch.row_weights or ()}
    return frozenset(whole | weights | {f"params.{name}" for name in patch.params or ()})


def conflicts(experiments: Sequence[Experiment]) -> list[Conflict]:
    """Return why experiments cannot run side by side; none, and every member's page is well defined.

    Those that change the same field must share a layer, which no member is in twice; those of a layer share no span,
    and no tester is forced into two of them. The first of two is the one that started first; if both did, by id.
    """
    ordered = sorted(experiments, key=precedence)
    fields = {each.definition.id: _fields(each.definition) for each in ordered}
    return [conflict for one, other in combinations(ordered, 2) for conflict in _between(one, other, fields)]


def precedence(experiment: Experiment) -> tuple[float, str]:
    """Return by what experiments are ordered where one has to give way: the first to start stays."""
    started_at_ms = experiment.started_at_ms
    return (float("inf") if started_at_ms is None else started_at_ms, experiment.definition.id)


def _between(one: Experiment, other: Experiment, fields: dict[str, frozenset[str]]) -> Iterator[Conflict]:
    first, then = one.definition, other.definition
    if layer_of(first) != layer_of(then):
        shared = sorted(fields[first.id] & fields[then.id])
        if shared:
            why = f"{first.id} changes {', '.join(shared)} too: put both into one layer, so that no member is in both"
            yield Conflict(first.id, then.id, "layer", why)
        return
    if any(a.begin < b.end and b.begin < a.end for a in one.spans for b in other.spans):
        yield Conflict(first.id, then.id, "spans", f"members of layer {layer_of(first)} are {first.id}'s already")
    testers = sorted(first.forced.keys() & then.forced.keys())
    if testers:
        why = f"member {testers[0]} is forced into {first.id} of the same layer: force a tester into one of them"
        yield Conflict(first.id, then.id, "forced", why)


def _fields(definition: Definition) -> frozenset[str]:
    return frozenset().union(*(patched_fields(variant.patch) for variant in definition.variants))
