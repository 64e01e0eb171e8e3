"""First event: when an entity was first heard of; its age follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from streams.events import Event
from streams.features.type_codes import ALL_TYPES
from streams.features.windowed_count import DAY_MS


@dataclass(frozen=True)
class FirstEvent:
    """The earliest event time; the feature is the age since then, in days."""

    version: ClassVar[int] = 1
    types: ClassVar[frozenset[str]] = ALL_TYPES
    state_type: ClassVar[Any] = int | None

    def names(self, genres: tuple[str, ...]) -> list[str]:
        return [""]

    def initialize(self) -> int | None:
        return None

    def update(self, state: int | None, event: Event, genres: tuple[str, ...]) -> int | None:
        return event.event_time_ms if state is None or event.event_time_ms < state else state

    def merge(self, left: int | None, right: int | None) -> int | None:
        times = [time_ms for time_ms in (left, right) if time_ms is not None]
        return min(times, default=None)

    def result(self, state: int | None, now_ms: int) -> dict[str, float]:
        return {} if state is None else {"": max(now_ms - state, 0) / DAY_MS}
