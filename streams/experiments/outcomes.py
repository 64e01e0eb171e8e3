"""What a member did in an experiment: each metric's numbers, from the member's history and first exposure alone.

A pure function of both, and of no order: the agent, and the recomputation from the warehouse, come to the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from streams.experiments.definition import Definition
from streams.experiments.metric import Measure, Metric
from streams.experiments.moments import SCALE, scaled
from streams.impressions import Exposure
from streams.stores.protocol import HistoryRow

HISTORY_ROWS: Final = 10_000
"""The newest rows of a member's history that outcomes are taken from: what an eager member does in a year."""

LARGEST: Final = 2**63 - 1
"""A member's number is no larger; at 9 * 10**12 it is no measurement any more."""

DEVICES: Final = frozenset(
    ("car", "console", "desktop", "laptop", "mobile", "phone", "speaker", "stick", "tablet", "tv", "watch", "web")
)
"""What segments are made of; whatever else an app says of its device is `other`, so that their number is bounded."""
OTHER: Final = "other"
UNKNOWN: Final = "unknown"

Numbers = tuple[int, int, int, int]
"""Y, D, X, W of a member in one metric, in millionths: see streams.experiments.moments."""


class FirstExposure(msgspec.Struct, frozen=True, order=True):
    """A member's earliest exposure in an experiment. position: in the log. step: of the page's ladder."""

    at_ms: int
    position: int
    variant: str
    step: str = "fresh"
    country: str = ""
    device: str = ""

    @classmethod
    def of(cls, exposure: Exposure, position: int) -> FirstExposure:
        """Return an exposure as a candidate for the first; the least of a member's is it."""
        place = exposure.country, exposure.device
        return cls(exposure.exposed_at_ms, position, exposure.variant, exposure.step, *place)

    @property
    def stratum(self) -> str:
        """Whether the variant was shown in full (`fresh`), or the page came from below the top of the ladder."""
        return "fresh" if self.step == "fresh" else "degraded"

    def segments(self, attributes: Iterable[str]) -> list[str]:
        """Return the member's segment by each attribute. What apps make up freely counts as one: segments are bounded.

        >>> FirstExposure(0, 0, "a", country="us", device="toaster").segments(["country", "device"])
        ['country=US', 'device=other']
        """
        known = {"country": _country(self.country), "device": _device(self.device)}
        return [f"{attribute}={known[attribute]}" for attribute in attributes if attribute in known]


def outcome_of(
    definition: Definition, first: FirstExposure, end_ms: int | None, history: Sequence[HistoryRow]
) -> dict[str, Numbers]:
    """Return a member's numbers by metric. end_ms: events from then on do not count (the experiment was stopped).

    history: rows in any order, each once, of which those before the pre-period do not matter.
    """
    pre_ms = definition.plan.pre_period_s * 1000 if definition.plan.cuped else 0
    return {metric.name: numbers_of(metric, first.at_ms, end_ms, pre_ms, history) for metric in definition.metrics}


def numbers_of(
    metric: Metric, first_ms: int, end_ms: int | None, pre_ms: int, history: Iterable[HistoryRow]
) -> Numbers:
    """Return a member's numbers in one metric: after the first exposure, and in `pre_ms` before it (0 for none)."""
    begin_ms = first_ms + metric.after_s * 1000
    ends = [end_ms] if end_ms is not None else []
    if metric.window_s is not None:
        ends.append(first_ms + metric.window_s * 1000)
    until_ms = min(ends, default=None)
    after, before = [], []
    for row in history:
        if begin_ms <= row.event_time_ms and (until_ms is None or row.event_time_ms < until_ms):
            if metric.attribution == "member" or _page_ms(row) >= first_ms:
                after.append(row)
        elif first_ms - pre_ms <= row.event_time_ms < first_ms:
            before.append(row)
    number = _BY_KIND.get(metric.kind, _measured)
    per = metric.per
    return (
        number(metric, after),
        SCALE if per is None else _sum(per, after),
        number(metric, before) if pre_ms else 0,
        SCALE if per is None else (_sum(per, before) if pre_ms else 0),
    )


def _measured(metric: Metric, rows: Sequence[HistoryRow]) -> int:
    number = _sum(metric.measure, rows)
    return number if metric.cap is None else min(number, scaled(metric.cap))


def _any(metric: Metric, rows: Sequence[HistoryRow]) -> int:
    return SCALE if any(_counts(metric.measure, row) for row in rows) else 0


_BY_KIND: Final[dict[str, Callable[[Metric, Sequence[HistoryRow]], int]]] = {"conversion": _any, "retention": _any}


def _sum(measure: Measure, rows: Iterable[HistoryRow]) -> int:
    """Return a measure of rows, as an integer from the start: the order of rows does not matter."""
    if measure.of == "events":
        number = SCALE * sum(_counts(measure, row) for row in rows)
    else:
        number = sum(scaled(row.value) for row in rows if _counts(measure, row) and row.value is not None)
    return max(-LARGEST, min(number, LARGEST))


def _counts(measure: Measure, row: HistoryRow) -> bool:
    if row.type not in measure.types:
        return False
    return measure.min_value is None or (row.value is not None and row.value >= measure.min_value)


def _page_ms(row: HistoryRow) -> int:
    """Return when the page was served that an event happened on, -1 if it names none: page ids begin with that."""
    try:
        return int((row.page_id or "")[:12], 16)
    except ValueError:
        return -1


def _country(country: str) -> str:
    known = len(country) == 2 and country.isascii() and country.isalpha()
    return country.upper() if known else (OTHER if country else UNKNOWN)


def _device(device: str) -> str:
    return device if device in DEVICES else (OTHER if device else UNKNOWN)
