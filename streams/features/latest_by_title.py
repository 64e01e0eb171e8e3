"""The latest of some event types by title: what is in progress, liked or disliked, on the member's list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from streams.events import Event
from streams.features.type_codes import TYPE_BITS, TYPE_CODES, unpack_time

LatestState = dict[str, tuple[int, float]]
"""By item id: time and type (see type_codes), and the event's value, 0 for none."""


class LatestEntry(NamedTuple):
    """A title and the latest event about it."""

    item_id: str
    type: str
    event_time_ms: int
    value: float


@dataclass(frozen=True)
class LatestByTitle:
    """The latest event of the given types for each of the `bound` titles with the newest ones.

    At the same time the type that comes later in EVENT_TYPES wins, then the higher value. A title that is over
    (complete, taken off the list) stays as long as others, so that an older event that arrives late does not bring it
    back.
    """

    among: tuple[str, ...]
    bound: int
    version: ClassVar[int] = 1
    state_type: ClassVar[Any] = LatestState

    @property
    def types(self) -> frozenset[str]:
        return frozenset(self.among)

    def names(self, genres: tuple[str, ...]) -> list[str]:
        return []

    def initialize(self) -> LatestState:
        return {}

    def update(self, state: LatestState, event: Event, genres: tuple[str, ...]) -> LatestState:
        entry = (event.event_time_ms << TYPE_BITS | TYPE_CODES[event.type], float(event.value or 0.0))
        item_id = event.item_id
        known = state.get(item_id)
        if known is None or entry > known:
            state[item_id] = entry
            if len(state) > self.bound:
                del state[min(state, key=lambda item: (state[item], item))]
        return state

    def merge(self, left: LatestState, right: LatestState) -> LatestState:
        latest = dict(left)
        for item_id, entry in right.items():
            if item_id not in latest or entry > latest[item_id]:
                latest[item_id] = entry
        newest = sorted(latest.items(), key=lambda pair: (pair[1], pair[0]))[-self.bound :]
        return dict(newest)

    def result(self, state: LatestState, now_ms: int) -> list[LatestEntry]:
        """Return the latest event of each title, the newest first."""
        entries = []
        for item_id, (code, value) in sorted(state.items(), key=lambda pair: (pair[1], pair[0]), reverse=True):
            event_time_ms, event_type = unpack_time(code)
            entries.append(LatestEntry(item_id, event_type, event_time_ms, value))
        return entries
