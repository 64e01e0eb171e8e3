"""What titles share by content: genres and the years of release. It is all there is for a title without events."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from training_bridge.ranker.titles_meta import UNKNOWN_YEAR, TitlesMeta

YEAR_MS: Final = 365.25 * 86_400_000
UNKNOWN_YEAR_CLOSENESS: Final = 0.1
"""A title of unknown year is near none and far from none: about the mean closeness between two titles of MovieLens."""


def genre_vectors(meta: TitlesMeta) -> NDArray[np.float32]:
    """Return float32 [V, max(G, 1)] of unit length (zero without genres)."""
    flags = np.zeros((len(meta.has_genre), max(len(meta.genres), 1)), np.float32)
    flags[:, : len(meta.genres)] = meta.has_genre
    unit: NDArray[np.float32] = flags / np.sqrt(np.maximum(flags.sum(axis=1, keepdims=True), 1.0))
    return unit


def year_buckets(meta: TitlesMeta) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the distinct years, int32 [Y] ascending, and each title's position among them, int32 [V]."""
    years, position = np.unique(meta.year, return_inverse=True)
    return years.astype(np.int32), position.astype(np.int32).reshape(-1)


def year_closeness(years: NDArray[np.int32], scale: float) -> NDArray[np.float32]:
    """Return float32 [Y, Y]: exp(-|difference| / scale), symmetric, 1 for the same year."""
    gap = np.abs(years[:, None] - years[None, :]) / scale
    closeness = np.asarray(np.exp(-gap), np.float32)
    unknown = years == UNKNOWN_YEAR
    closeness[unknown, :] = closeness[:, unknown] = UNKNOWN_YEAR_CLOSENESS
    return closeness


def release_age_years(meta: TitlesMeta, now_ms: int) -> NDArray[np.float32]:
    """Return the years from 1 January of the release year to now, float32 [V], at least 0; 0 for an unknown year, in
    whose place the signals put the mean of the others."""
    age = np.maximum(1970.0 + now_ms / YEAR_MS - meta.year, 0.0)
    return np.where(meta.year == UNKNOWN_YEAR, 0.0, age).astype(np.float32)
