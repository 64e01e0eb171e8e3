"""Trend: whether a title is asked for more today than in an average day of the week."""

from __future__ import annotations

from dataclasses import dataclass
from math import log2
from typing import ClassVar

from streams.features.aggregation import State
from streams.features.windowed_count import DAY, WEEK, WindowedCount


@dataclass(frozen=True)
class Trend:
    """log2((count of a day + smoothing) / (count of a week / 7 + smoothing)): 0 is steady, 1 is twice the usual."""

    counts: WindowedCount
    smoothing: float = 1.0
    reads: ClassVar[tuple[str, ...]] = ("count",)

    def names(self) -> list[str]:
        return ["trend"]

    def result(self, states: list[State], watermark_ms: int, now_ms: int) -> dict[str, float]:
        counts = self.counts.result(states[0], now_ms)
        return {"trend": trend(counts.get(DAY.name, 0.0), counts.get(WEEK.name, 0.0), self.smoothing)}


def trend(day: float, week: float, smoothing: float) -> float:
    """Return the trend of counts of a day and of the week with that day; 0.0 for a title without any.

    >>> trend(0, 0, 1.0), trend(3, 7, 1.0)
    (0.0, 1.0)
    """
    return log2((day + smoothing) / (week / 7 + smoothing))
