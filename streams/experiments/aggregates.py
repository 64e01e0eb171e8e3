"""Aggregates of an experiment: sums over members by variant, day of first exposure, stratum and segment.

They add up and can be taken apart again exactly, so what a member contributes is replaced when more is known of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from streams.errors import Corrupt
from streams.experiments.definition import Definition
from streams.experiments.histogram import bucket_of
from streams.experiments.moments import Moments
from streams.experiments.outcomes import FirstExposure, Numbers

DAY_MS: Final = 86_400_000
ALL: Final = ""
"""The segment of all members."""
_NONE: Final = Moments()

Buckets = dict[int, int]
"""Members by bucket: see streams.experiments.histogram."""


class Cell(NamedTuple):
    """Which members an aggregate is of. day: of the first exposure, since 1970-01-01 UTC."""

    variant: str
    day: int
    stratum: str
    segment: str


class Sums(msgspec.Struct, frozen=True):
    """Sums over the members of one cell. crossed: who was seen in another variant, too, and is in no other number.
    moments: by metric. histograms: of percentile metrics, members by bucket."""

    members: int = 0
    crossed: int = 0
    moments: dict[str, Moments] = {}
    histograms: dict[str, Buckets] = {}

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.members + other.members,
            self.crossed + other.crossed,
            _joined(self.moments, other.moments, sign=1),
            _counted(self.histograms, other.histograms, sign=1),
        )

    def __sub__(self, other: Sums) -> Sums:
        return Sums(
            self.members - other.members,
            self.crossed - other.crossed,
            _joined(self.moments, other.moments, sign=-1),
            _counted(self.histograms, other.histograms, sign=-1),
        )

    @property
    def is_empty(self) -> bool:
        """Whether it is of no members."""
        return self.members == self.crossed == 0


class Counted(msgspec.Struct, frozen=True):
    """What is kept of a member in an experiment. other: the first exposure in another variant than the first one, None
    if there was none."""

    first: FirstExposure
    other: FirstExposure | None = None
    numbers: dict[str, Numbers] = {}

    @property
    def crossed(self) -> bool:
        """Whether the member was seen in two variants."""
        return self.other is not None


class Aggregate(NamedTuple):
    """Sums over the members of a cell."""

    cell: Cell
    sums: Sums


def contribution(definition: Definition, counted: Counted) -> dict[Cell, Sums]:
    """Return what a member adds to the aggregates."""
    first = counted.first
    day = first.at_ms // DAY_MS
    if counted.crossed:
        return {Cell(first.variant, day, first.stratum, ALL): Sums(crossed=1)}
    moments = {name: Moments.of(*numbers) for name, numbers in counted.numbers.items()}
    percentiles = (metric.name for metric in definition.metrics if metric.kind == "percentile")
    histograms = {name: {bucket_of(counted.numbers[name][0]): 1} for name in percentiles if name in counted.numbers}
    whole = Sums(1, 0, moments, histograms)
    primary = Sums(1, 0, {name: value for name, value in moments.items() if name == definition.primary})
    segments = first.segments(definition.plan.segments)
    return {
        Cell(first.variant, day, first.stratum, ALL): whole,
        **{Cell(first.variant, day, first.stratum, segment): primary for segment in segments},
    }


def total(parts: Iterable[Mapping[Cell, Sums]]) -> dict[Cell, Sums]:
    """Return the sums of parts, without the cells that are empty."""
    cells: dict[Cell, Sums] = {}
    for part in parts:
        for cell, sums in part.items():
            cells[cell] = cells[cell] + sums if cell in cells else sums
    return {cell: sums for cell, sums in cells.items() if not sums.is_empty}


class _StoredMoments(msgspec.Struct, frozen=True, array_like=True):
    n: int
    sums: list[str]
    products: list[str]


class _StoredSums(msgspec.Struct, frozen=True, omit_defaults=True):
    members: int = 0
    crossed: int = 0
    moments: dict[str, _StoredMoments] = {}
    histograms: dict[str, Buckets] = {}


_decoder: Final = msgspec.json.Decoder(_StoredSums)


def encode_sums(sums: Sums) -> str:
    """Return the stored form: JSON, in which integers that may pass 64 bits are strings."""
    moments = {
        name: _StoredMoments(each.n, list(map(str, each.sums)), list(map(str, each.products)))
        for name, each in sums.moments.items()
    }
    return msgspec.json.encode(_StoredSums(sums.members, sums.crossed, moments, sums.histograms)).decode()


def decode_sums(value: str) -> Sums:
    """Return sums from their stored form. Raises Corrupt."""
    try:
        stored = _decoder.decode(value)
        moments = {
            name: Moments(each.n, tuple(map(int, each.sums)), tuple(map(int, each.products)))
            for name, each in stored.moments.items()
        }
    except (msgspec.MsgspecError, ValueError) as error:
        raise Corrupt(f"an aggregate of an experiment cannot be read: {error}") from error
    return Sums(stored.members, stored.crossed, moments, stored.histograms)


def _joined(left: Mapping[str, Moments], right: Mapping[str, Moments], *, sign: int) -> dict[str, Moments]:
    joined: dict[str, Moments] = {}
    for name in left.keys() | right.keys():
        one, other = left.get(name, _NONE), right.get(name, _NONE)
        joined[name] = one + other if sign > 0 else one - other
    return {name: moments for name, moments in joined.items() if moments.n}


def _counted(left: Mapping[str, Buckets], right: Mapping[str, Buckets], *, sign: int) -> dict[str, Buckets]:
    counted: dict[str, Buckets] = {}
    for name in left.keys() | right.keys():
        one, other = left.get(name, {}), right.get(name, {})
        counts = {bucket: one.get(bucket, 0) + sign * other.get(bucket, 0) for bucket in one.keys() | other.keys()}
        counted[name] = {bucket: count for bucket, count in counts.items() if count}
    return {name: buckets for name, buckets in counted.items() if buckets}
