"""Popularity: how many events spoke for a title, the old ones weighing less, at several half-lives at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp2
from typing import Any, ClassVar

import msgspec

from streams.events import Event
from streams.features.decay import BLOCK, decayed, landmark_of, rebase
from streams.features.strength import NEUTRAL_STARS, POSITIVE_TYPES


class HalfLifeSums(msgspec.Struct, array_like=True, gc=False):
    """A sum for each half-life, all relative to one landmark (Unix, ms; see streams.features.decay)."""

    landmark_ms: int
    sums: list[float]


@dataclass(frozen=True)
class Popularity:
    """The forward-decayed number of events with positive strength. half_lives_ms: by name, as in feature names."""

    half_lives_ms: tuple[tuple[str, int], ...]
    version: ClassVar[int] = 1
    types: ClassVar[frozenset[str]] = POSITIVE_TYPES
    state_type: ClassVar[Any] = HalfLifeSums
    _rates: tuple[tuple[int, float], ...] = field(init=False, repr=False, compare=False)
    _block_ms: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rates = tuple((place, 1 / length) for place, (_, length) in enumerate(self.half_lives_ms))
        object.__setattr__(self, "_rates", rates)
        object.__setattr__(self, "_block_ms", min(length for _, length in self.half_lives_ms) * BLOCK)

    def names(self, genres: tuple[str, ...]) -> list[str]:
        return [name for name, _ in self.half_lives_ms]

    def initialize(self) -> HalfLifeSums:
        return HalfLifeSums(0, [0.0] * len(self.half_lives_ms))

    def update(self, state: HalfLifeSums, event: Event, genres: tuple[str, ...]) -> HalfLifeSums:
        if event.type == "rate" and (event.value is None or event.value <= NEUTRAL_STARS):
            return state
        since_ms = event.event_time_ms - state.landmark_ms
        if since_ms >= self._block_ms:
            landmark_ms = landmark_of(event.event_time_ms, self._block_ms)
            state.sums = self._rebased(state, landmark_ms)
            state.landmark_ms = landmark_ms
            since_ms = event.event_time_ms - landmark_ms
        sums = state.sums
        for place, rate in self._rates:
            sums[place] += exp2(since_ms * rate)
        return state

    def merge(self, left: HalfLifeSums, right: HalfLifeSums) -> HalfLifeSums:
        landmark_ms = max(left.landmark_ms, right.landmark_ms)
        pairs = zip(self._rebased(left, landmark_ms), self._rebased(right, landmark_ms), strict=True)
        return HalfLifeSums(landmark_ms, [mine + other for mine, other in pairs])

    def _rebased(self, state: HalfLifeSums, onto_ms: int) -> list[float]:
        pairs = zip(state.sums, self.half_lives_ms, strict=True)
        return [rebase(total, state.landmark_ms, onto_ms, length) for total, (_, length) in pairs]

    def result(self, state: HalfLifeSums, now_ms: int) -> dict[str, float]:
        pairs = zip(state.sums, self.half_lives_ms, strict=True)
        return {name: decayed(total, state.landmark_ms, length, now_ms) for total, (name, length) in pairs if total}
