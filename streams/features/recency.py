"""Recency: how long ago an entity's newest event was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from streams.features.aggregation import State


@dataclass(frozen=True)
class Recency:
    """Seconds since the newest event, by event time."""

    reads: ClassVar[tuple[str, ...]] = ()

    def names(self) -> list[str]:
        return ["recency_s"]

    def result(self, states: list[State], watermark_ms: int, now_ms: int) -> dict[str, float]:
        return {"recency_s": max(now_ms - watermark_ms, 0) / 1000}
