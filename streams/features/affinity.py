"""Affinity: how strongly a member's events spoke for each genre, the old ones weighing less."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import exp2
from typing import Any, ClassVar

import msgspec

from streams.events import Event
from streams.features.decay import BLOCK, decayed, landmark_of, rebase
from streams.features.strength import strength
from streams.features.type_codes import ALL_TYPES


class GenreSums(msgspec.Struct, array_like=True, gc=False):
    """Sums by genre, all relative to one landmark (Unix, ms; see streams.features.decay)."""

    landmark_ms: int
    sums: dict[str, float]


@dataclass(frozen=True)
class Affinity:
    """The forward-decayed sum of strengths by genre; a title counts in full for each of its genres.

    The state is bounded by the number of genres in the catalogue.
    """

    half_life_ms: int
    version: ClassVar[int] = 1
    types: ClassVar[frozenset[str]] = ALL_TYPES - {"search"}
    state_type: ClassVar[Any] = GenreSums
    _block_ms: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_block_ms", self.half_life_ms * BLOCK)

    def names(self, genres: tuple[str, ...]) -> list[str]:
        return list(genres)

    def initialize(self) -> GenreSums:
        return GenreSums(0, {})

    def update(self, state: GenreSums, event: Event, genres: tuple[str, ...]) -> GenreSums:
        half_life_ms = self.half_life_ms
        since_ms = event.event_time_ms - state.landmark_ms
        if since_ms >= self._block_ms:
            _rebase(state, landmark_of(event.event_time_ms, self._block_ms), half_life_ms)
            since_ms = event.event_time_ms - state.landmark_ms
        weight = strength(event.type, event.value) * exp2(since_ms / half_life_ms)
        sums = state.sums
        for genre in genres:
            sums[genre] = sums.get(genre, 0.0) + weight
        return state

    def merge(self, left: GenreSums, right: GenreSums) -> GenreSums:
        landmark_ms = max(left.landmark_ms, right.landmark_ms)
        sums: dict[str, float] = {}
        for state in (left, right):
            for genre, total in state.sums.items():
                term = rebase(total, state.landmark_ms, landmark_ms, self.half_life_ms)
                sums[genre] = sums.get(genre, 0.0) + term
        return GenreSums(landmark_ms, dict(sorted(sums.items())))

    def result(self, state: GenreSums, now_ms: int) -> dict[str, float]:
        scale = decayed(1.0, state.landmark_ms, self.half_life_ms, now_ms)
        return {genre: total * scale for genre, total in state.sums.items()}


def _rebase(state: GenreSums, onto_ms: int, half_life_ms: int) -> None:
    for genre, total in state.sums.items():
        state.sums[genre] = rebase(total, state.landmark_ms, onto_ms, half_life_ms)
    state.landmark_ms = onto_ms
