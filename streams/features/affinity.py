"""Affinity: how strongly a member's events spoke for each genre, the old ones weighing less."""

from __future__ import annotations

from dataclasses import dataclass
from math import ldexp
from typing import Any, ClassVar

import msgspec

from streams.events import Event
from streams.features.decay import decayed, rebase
from streams.features.strength import strength
from streams.features.type_codes import ALL_TYPES


class GenreSums(msgspec.Struct, array_like=True, gc=False):
    """Sums by genre, all in units of 2**unit (see streams.features.decay)."""

    unit: int
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

    def names(self, genres: tuple[str, ...]) -> list[str]:
        return list(genres)

    def initialize(self) -> GenreSums:
        return GenreSums(0, {})

    def update(self, state: GenreSums, event: Event, genres: tuple[str, ...]) -> GenreSums:
        half_life_ms = self.half_life_ms
        unit = event.event_time_ms // half_life_ms
        weight = strength(event.type, event.value) * 2.0 ** ((event.event_time_ms - unit * half_life_ms) / half_life_ms)
        sums = state.sums
        newest = state.unit
        if unit > newest:
            shift = newest - unit
            state.unit = unit
            for genre in sums:
                sums[genre] = ldexp(sums[genre], shift)
        elif unit < newest:
            weight = ldexp(weight, unit - newest)
        for genre in genres:
            sums[genre] = sums.get(genre, 0.0) + weight
        return state

    def merge(self, left: GenreSums, right: GenreSums) -> GenreSums:
        unit = max(left.unit, right.unit)
        sums = {genre: rebase(total, left.unit, unit) for genre, total in left.sums.items()}
        for genre, total in right.sums.items():
            sums[genre] = sums.get(genre, 0.0) + rebase(total, right.unit, unit)
        return GenreSums(unit, dict(sorted(sums.items())))

    def result(self, state: GenreSums, now_ms: int) -> dict[str, float]:
        scale = decayed(1.0, state.unit, self.half_life_ms, now_ms)
        return {genre: total * scale for genre, total in state.sums.items()}
