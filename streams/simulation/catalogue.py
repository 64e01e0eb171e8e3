"""A generated catalogue: titles a person could believe in, some of them in series."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from streams.catalogue import Title
from streams.errors import FixRequest
from streams.simulation.names import GENRES, draw_name

SERIES_SHARE: Final = 0.18
"""Of the first titles drawn, so many grow into a series."""
MAX_SERIES: Final = 5
MAX_TITLES: Final = 100_000
"""A quarter of the names that the words can make, so that an unused one is soon found."""
NEWEST_YEAR: Final = 2025
_SEQUEL: Final = re.compile(r"^(?P<first>.+?) (?P<number>[2-9])$")

_GENRE_WEIGHTS: Final = np.array([9, 7, 4, 4, 13, 7, 4, 14, 5, 6, 2, 4, 8, 6, 8, 3, 2], float)
"""Roughly how often each genre comes first in a video library."""


def generate_catalogue(rng: np.random.Generator, titles: int = 2_000) -> list[Title]:
    """Return `titles` titles `t0001`, `t0002`, …, all named differently; the same rng gives the same ones.

    Titles of a series follow one another and share their genres: "Orbital Signal", "Orbital Signal 2", …
    """
    if not 1 <= titles <= MAX_TITLES:
        raise FixRequest("titles", f"a generated catalogue may have 1 to {MAX_TITLES:,} titles")
    made: list[Title] = []
    taken: set[str] = set()
    while len(made) < titles:
        genres = _draw_genres(rng)
        name = draw_name(rng, genres[0], genres[-1])
        if name in taken:
            continue
        taken.add(name)
        length = int(rng.integers(2, MAX_SERIES + 1)) if rng.random() < SERIES_SHARE else 1
        made += _series(rng, name, genres, len(made) + 1, min(length, titles - len(made)))
    return made


def series_of(name: str) -> tuple[str, int]:
    """Return the first title of a title's series, and its number in it.

    >>> series_of("Orbital Signal 2"), series_of("The Quiet Harbour")
    (('Orbital Signal', 2), ('The Quiet Harbour', 1))
    """
    match = _SEQUEL.match(name)
    return (match["first"], int(match["number"])) if match else (name, 1)


def _series(rng: np.random.Generator, name: str, genres: tuple[str, ...], first: int, length: int) -> list[Title]:
    span = 3 * (length - 1)
    year = int(NEWEST_YEAR - span - min(rng.exponential(14.0), 70.0))
    low_minutes, high_minutes = (45, 100) if "Children" in genres or "Animation" in genres else (80, 150)
    return [
        Title(
            item_id=f"t{first + number:04d}",
            title=name if number == 0 else f"{name} {number + 1}",
            year=min(NEWEST_YEAR, year + 3 * number),
            genres=genres,
            duration_s=60 * int(rng.integers(low_minutes, high_minutes)),
        )
        for number in range(length)
    ]


def _draw_genres(rng: np.random.Generator) -> tuple[str, ...]:
    """Return one to three genres, the leading one first."""
    count = int(rng.choice([1, 2, 3], p=[0.3, 0.45, 0.25]))
    weights = _GENRE_WEIGHTS / _GENRE_WEIGHTS.sum()
    return tuple(GENRES[i] for i in rng.choice(len(GENRES), size=count, replace=False, p=weights))
