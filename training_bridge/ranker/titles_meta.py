"""What the catalogue says of the titles, as arrays: it never changes for a published title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNKNOWN_YEAR = 0


@dataclass(frozen=True, slots=True)
class TitlesMeta:
    """genres: G names. has_genre: bool [V, G]. year: int32 [V], release year or UNKNOWN_YEAR."""

    genres: tuple[str, ...]
    has_genre: NDArray[np.bool_]
    year: NDArray[np.int32]


def build_titles_meta(genres: Sequence[Sequence[str]], year: Sequence[int]) -> TitlesMeta:
    """Return the arrays for titles given by their genre names and release years, in order of the vocabulary."""
    names = tuple(sorted({genre for row in genres for genre in row}))
    index = {name: column for column, name in enumerate(names)}
    has_genre = np.zeros((len(genres), len(names)), bool)
    for position, row in enumerate(genres):
        has_genre[position, [index[genre] for genre in row]] = True
    return TitlesMeta(names, has_genre, np.asarray(year, np.int32).reshape(len(genres)))
