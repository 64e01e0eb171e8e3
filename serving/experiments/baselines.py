"""What is known of a metric from the platform's own past; remembered a while, for it takes the whole warehouse."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from msgspec.structs import replace

from serving.experiments.design import Baseline, baseline_of
from serving.experiments.refusals import Invalid
from serving.experiments.validation import problems_of
from streams.errors import SlowDown
from streams.experiments.definition import Definition
from streams.experiments.metric import Metric
from streams.experiments.moments import Moments

REMEMBERED: Final = 64
"""Metrics: of a few people who write definitions at once."""
TTL_MS: Final = 10 * 60_000
"""A past of weeks is hardly another one ten minutes later."""
PATIENCE_S: Final = 30.0
"""How long a request may wait for those before it; one past is read at a time."""
MAX_DAYS: Final = 28.0
"""Looked back, if the experiment may last so long."""

Past = Callable[[Metric, float, int, int], tuple[Moments, float]]
"""Returns the moments of a metric's past, and members a day, by metric, days, seconds before them and time."""


class _Key(NamedTuple):
    metric: Metric
    days: float
    pre_period_s: int


class Baselines:
    """Baselines of metrics; thread-safe."""

    def __init__(self, past: Past) -> None:
        self._past = past
        self._reading = threading.Lock()
        self._known: OrderedDict[_Key, tuple[int, Baseline]] = OrderedDict()

    def of(self, definition: Definition, now_ms: int) -> Baseline:
        """Return the baseline of a checked definition's primary metric over as many days as it may last.

        Raises FixRequest where the past says nothing of it, SlowDown where too many ask at once, TryAgain or Corrupt if
        the warehouse cannot be read.
        """
        key = _key(definition)
        if (known := self._known.get(key)) and now_ms - known[0] < TTL_MS:
            return known[1]
        if not self._reading.acquire(timeout=PATIENCE_S):
            raise SlowDown("others are having metrics' pasts read", PATIENCE_S / 2)
        try:
            if (known := self._known.get(key)) and now_ms - known[0] < TTL_MS:
                return known[1]
            moments, members_a_day = self._past(key.metric, key.days, key.pre_period_s, now_ms)
            baseline = baseline_of(moments, members_a_day)
            self._known[key] = (now_ms, baseline)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            return baseline
        finally:
            self._reading.release()


def check_reckonable(definition: Definition) -> None:
    """Raise Invalid unless the parts of a definition that a design is reckoned from are right.

    A draft may lack all the others, and planned_members, which comes of the design.
    """
    wrong = [each for each in problems_of(definition) if _RECKONED.match(each.field)]
    if wrong:
        raise Invalid(wrong)


_RECKONED: Final = re.compile(r"(?:variants|metrics|primary|mde|traffic|holdout|plan\.(?!planned_members))")


def _key(definition: Definition) -> _Key:
    metric = next(each for each in definition.metrics if each.name == definition.primary)
    plan = definition.plan
    days = min(max(plan.max_days, 1.0), MAX_DAYS)
    return _Key(replace(metric, name="", description=""), days, plan.pre_period_s if plan.cuped else 0)
