"""Session: the run of events without a long pause that the member is in now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from streams.features.aggregation import State
from streams.features.history import HistoryState
from streams.features.type_codes import TYPE_BITS


@dataclass(frozen=True)
class Session:
    """Length (events, as far as the history goes) and age (seconds since it began); none after a pause of `gap_ms`.

    It is read from the history rather than kept: merging halves of a session needs the times of its events.
    """

    gap_ms: int
    reads: ClassVar[tuple[str, ...]] = ("history",)

    def names(self) -> list[str]:
        return ["session_length", "session_age_s"]

    def result(self, states: list[State], watermark_ms: int, now_ms: int) -> dict[str, float]:
        history: HistoryState = states[0]
        codes = history.codes
        if not codes or now_ms - watermark_ms > self.gap_ms:
            return {}
        start_ms = codes[-1] >> TYPE_BITS
        length = 1
        for code in reversed(codes[:-1]):
            event_time_ms = code >> TYPE_BITS
            if start_ms - event_time_ms > self.gap_ms:
                break
            start_ms = event_time_ms
            length += 1
        return {"session_length": float(length), "session_age_s": max(now_ms - start_ms, 0) / 1000}
