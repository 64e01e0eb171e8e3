"""Whether metrics can be measured."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Final

from serving.experiments.refusals import Problem
from streams.experiments.metric import Measure, Metric, MetricKind

NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
MAX_METRICS: Final = 50
MAX_WINDOW_S: Final = 90 * 86_400
MAX_VALUE: Final = 1e9
"""As large as an event's value may be."""

MAX_TEXT: Final = 2_000

_CAPPED: Final[tuple[MetricKind, ...]] = ("count", "sum", "ratio")
_OF: Final = {"count": "events", "sum": "value", "conversion": "events", "retention": "events"}
"""What a kind measures, where it does not leave the choice."""


def metric_problems(metrics: Sequence[Metric]) -> Iterator[Problem]:
    """Yield all that is wrong with an experiment's metrics."""
    if not 1 <= len(metrics) <= MAX_METRICS:
        yield Problem("metrics", f"define 1 to {MAX_METRICS}; there are {len(metrics)}")
    seen = set[str]()
    for index, metric in enumerate(metrics[:MAX_METRICS]):
        if metric.name in seen:
            yield Problem(f"metrics[{index}].name", f"{metric.name[:64]!r} is there twice")
        seen.add(metric.name)
        yield from _metric(f"metrics[{index}]", metric)


def _metric(field: str, metric: Metric) -> Iterator[Problem]:
    if not NAME.fullmatch(metric.name):
        yield Problem(f"{field}.name", "use 1 to 64 lower-case letters, digits, `_` and `-`")
    yield from _measure(f"{field}.measure", metric.measure)
    if metric.measure.of != _OF.get(metric.kind, metric.measure.of):
        yield Problem(f"{field}.measure.of", f"a {metric.kind} is of {_OF[metric.kind]}; or choose another kind")
    if (metric.per is not None) != (metric.kind == "ratio"):
        yield Problem(f"{field}.per", "a ratio needs the measure below the line; other kinds have none")
    if metric.per is not None:
        yield from _measure(f"{field}.per", metric.per)
    yield from _times(field, metric)
    if metric.cap is not None and metric.kind not in _CAPPED:
        yield Problem(f"{field}.cap", f"leave it out: only {', '.join(_CAPPED)} have one")
    elif metric.cap is not None and not 0 < metric.cap <= MAX_VALUE:
        yield Problem(f"{field}.cap", f"give a number above 0, {MAX_VALUE:g} at most")
    if (metric.quantile is not None) != (metric.kind == "percentile"):
        yield Problem(f"{field}.quantile", "a percentile needs one, such as 0.95; other kinds have none")
    elif metric.quantile is not None and not 0 < metric.quantile < 1:
        yield Problem(f"{field}.quantile", "give a number between 0 and 1, such as 0.95")
    if len(metric.description) > MAX_TEXT:
        yield Problem(f"{field}.description", f"write at most {MAX_TEXT:,} characters")


def _measure(field: str, measure: Measure) -> Iterator[Problem]:
    if not measure.types or len(set(measure.types)) != len(measure.types):
        yield Problem(f"{field}.types", "name one type of event at least, and none twice")
    if measure.min_value is not None and not (math.isfinite(measure.min_value) and abs(measure.min_value) <= MAX_VALUE):
        yield Problem(f"{field}.min_value", f"give a number of at most {MAX_VALUE:g} in size")


def _times(field: str, metric: Metric) -> Iterator[Problem]:
    if not 0 <= metric.after_s <= MAX_WINDOW_S:
        yield Problem(f"{field}.after_s", f"give seconds since the first exposure, 0 to {MAX_WINDOW_S}")
    elif metric.kind == "retention" and metric.after_s == 0:
        yield Problem(f"{field}.after_s", "say from when on a member who comes back is retained, such as 86400")
    if metric.window_s is not None and not max(metric.after_s, 0) < metric.window_s <= MAX_WINDOW_S:
        yield Problem(f"{field}.window_s", f"give seconds after `after_s`, up to {MAX_WINDOW_S}, or leave it out")
