"""Popularity: how many events spoke for a title, the old ones weighing less, at several half-lives at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ldexp
from typing import Any, ClassVar

import msgspec

from streams.events import Event
from streams.features.decay import decayed, rebase
from streams.features.strength import NEUTRAL_STARS, POSITIVE_TYPES


class HalfLifeSums(msgspec.Struct, array_like=True, gc=False):
    """One sum for each half-life, in units of 2**unit (see streams.features.decay)."""

    units: list[int]
    sums: list[float]

    def __post_init__(self) -> None:
        if len(self.units) != len(self.sums):
            raise ValueError("decayed sums differ in length")


@dataclass(frozen=True)
class Popularity:
    """The forward-decayed number of events with positive strength. half_lives_ms: by name, as in feature names."""

    half_lives_ms: tuple[tuple[str, int], ...]
    version: ClassVar[int] = 1
    types: ClassVar[frozenset[str]] = POSITIVE_TYPES
    state_type: ClassVar[Any] = HalfLifeSums
    _steps: tuple[tuple[int, int, float], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        steps = tuple((place, length, 1 / length) for place, (_, length) in enumerate(self.half_lives_ms))
        object.__setattr__(self, "_steps", steps)

    def names(self, genres: tuple[str, ...]) -> list[str]:
        return [name for name, _ in self.half_lives_ms]

    def initialize(self) -> HalfLifeSums:
        return HalfLifeSums([0] * len(self.half_lives_ms), [0.0] * len(self.half_lives_ms))

    def update(self, state: HalfLifeSums, event: Event, genres: tuple[str, ...]) -> HalfLifeSums:
        if event.type == "rate" and (event.value is None or event.value <= NEUTRAL_STARS):
            return state
        event_time_ms = event.event_time_ms
        units = state.units
        sums = state.sums
        for place, half_life_ms, inverse in self._steps:
            unit = event_time_ms // half_life_ms
            weight = 2.0 ** ((event_time_ms - unit * half_life_ms) * inverse)
            newest = units[place]
            if unit == newest:
                sums[place] += weight
            elif unit > newest:
                units[place] = unit
                sums[place] = ldexp(sums[place], newest - unit) + weight
            else:
                sums[place] += ldexp(weight, unit - newest)
        return state

    def merge(self, left: HalfLifeSums, right: HalfLifeSums) -> HalfLifeSums:
        units = [max(pair) for pair in zip(left.units, right.units, strict=True)]
        return HalfLifeSums(units, [a + b for a, b in zip(_rebased(left, units), _rebased(right, units), strict=True)])

    def result(self, state: HalfLifeSums, now_ms: int) -> dict[str, float]:
        return {
            name: decayed(total, unit, half_life_ms, now_ms)
            for (name, half_life_ms), unit, total in zip(self.half_lives_ms, state.units, state.sums, strict=True)
            if total
        }


def _rebased(state: HalfLifeSums, units: list[int]) -> list[float]:
    return [rebase(total, unit, onto) for total, unit, onto in zip(state.sums, state.units, units, strict=True)]
