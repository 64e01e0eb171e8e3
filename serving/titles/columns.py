"""Title features of many titles at once: what `title_vector` says of one title, computed by column.

A title has a state for each partition. Decayed sums and windowed counts add up over them, so nothing needs to be merged
title by title: states are laid out as columns, weighed, and summed by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.features.click_through import PRIOR_CLICKS, PRIOR_SHOWN
from streams.features.entity_state import EntityState
from streams.features.popularity import HalfLifeSums
from streams.features.title import CLICK_THROUGH, HALF_LIVES_MS, TITLE, TITLE_FEATURES, TITLE_SHOWN
from streams.features.trend import Trend
from streams.features.view import View
from streams.features.windowed_count import COUNT_BITS, COUNT_MASK, DAY_MS, HOUR_MS, Panes, WindowedCount

FEATURES: Final = TITLE_FEATURES
COLUMN: Final = {name: column for column, name in enumerate(FEATURES)}
_POPULARITY: Final = [COLUMN[f"popularity:{name}"] for name, _ in HALF_LIVES_MS]
_HALF_LIVES_MS: Final = np.array([half_life_ms for _, half_life_ms in HALF_LIVES_MS], np.int64)
_SMOOTHING: Final = next(derived.smoothing for derived in TITLE.derived if isinstance(derived, Trend))

PANE_MS: Final = HOUR_MS
"""Counts change with the clock alone only where a pane ends; the shortest panes are hours."""

Matrix = NDArray[np.float64]
Rows = NDArray[np.intp]


class StatesOf(NamedTuple):
    """States of one view, and the row of the title that each belongs to (a title may have several)."""

    rows: Rows
    states: Sequence[EntityState]


def feature_matrix(count: int, titles: StatesOf, shown: StatesOf, now_ms: int) -> Matrix:
    """Return float64 [count, len(FEATURES)]: the features of `count` titles at `now_ms`."""
    matrix = np.zeros((count, len(FEATURES)))
    if titles.states:
        _add_popularity(matrix, titles, now_ms)
        _set_age(matrix, titles, now_ms)
    for view, of in ((TITLE, titles), (TITLE_SHOWN, shown)):
        if of.states:
            _add_counts(matrix, view, of, now_ms)
    _derive(matrix)
    return matrix


def moved_on(matrix: Matrix, elapsed_ms: int) -> Matrix:
    """Return the features `elapsed_ms` later for titles without new events, as long as no pane ends in between."""
    later = matrix.copy()
    later[:, _POPULARITY] *= np.exp2(-elapsed_ms / _HALF_LIVES_MS)
    age = COLUMN["age_days"]
    later[:, age] += np.where(matrix[:, _POPULARITY[-1]] > 0, elapsed_ms / DAY_MS, 0.0)
    return later


def _parts(view: View, name: str, of: StatesOf) -> list[Any]:
    slot = view.slots[name]
    return [state.parts[slot] for state in of.states]


def _add_popularity(matrix: Matrix, of: StatesOf, now_ms: int) -> None:
    parts: list[HalfLifeSums] = _parts(TITLE, "popularity", of)
    landmarks_ms = np.array([part.landmark_ms for part in parts], np.int64)
    sums = np.array([part.sums for part in parts])
    weighed = sums * np.exp2(np.minimum((landmarks_ms - now_ms)[:, None] / _HALF_LIVES_MS, 0.0))
    for place, column in enumerate(_POPULARITY):
        matrix[:, column] += np.bincount(of.rows, weighed[:, place], len(matrix))


def _set_age(matrix: Matrix, of: StatesOf, now_ms: int) -> None:
    firsts: list[int | None] = _parts(TITLE, "age_days", of)
    first_ms = np.full(len(matrix), np.inf)
    np.minimum.at(first_ms, of.rows, [np.inf if first is None else first for first in firsts])
    known = np.isfinite(first_ms)
    matrix[known, COLUMN["age_days"]] = np.maximum(now_ms - first_ms[known], 0) / DAY_MS


def _add_counts(matrix: Matrix, view: View, of: StatesOf, now_ms: int) -> None:
    for name, aggregation in view.aggregations.items():
        if isinstance(aggregation, WindowedCount):
            parts: list[tuple[Panes, ...]] = _parts(view, name, of)
            pane_lengths = sorted({window.pane_ms for window in aggregation.windows})
            for place, pane_ms in enumerate(pane_lengths):
                rows, codes, counts = _flat([part[place] for part in parts], of.rows)
                for window in aggregation.windows:
                    if window.pane_ms == pane_ms:
                        inside = codes >= now_ms // pane_ms - window.span_ms // pane_ms + 1
                        column = COLUMN[f"{name}:{window.name}"]
                        matrix[:, column] += np.bincount(rows[inside], counts[inside], len(matrix))


def _flat(panes: list[Panes], rows: Rows) -> tuple[Rows, NDArray[np.int64], Matrix]:
    """Return (row, pane code, count) of every pane, one after another."""
    lengths = list(map(len, panes))
    packed = np.fromiter(chain.from_iterable(panes), np.int64, sum(lengths))
    return np.repeat(rows, lengths), packed >> COUNT_BITS, (packed & COUNT_MASK).astype(np.float64)


def _derive(matrix: Matrix) -> None:
    day, week = matrix[:, COLUMN["count:1d"]], matrix[:, COLUMN["count:7d"]]
    matrix[:, COLUMN["trend"]] = np.log2((day + _SMOOTHING) / (week / 7 + _SMOOTHING))
    clicks, shown = matrix[:, COLUMN["clicks:30d"]], matrix[:, COLUMN["shown:30d"]]
    matrix[:, COLUMN[CLICK_THROUGH]] = np.minimum((clicks + PRIOR_CLICKS) / (shown + PRIOR_SHOWN), 1.0)
