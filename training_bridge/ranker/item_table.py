"""A sparse item-item table of fixed width: the form in which estimators reach the graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

MAX_VALUE: Final = np.float32(60_000.0)
"""Half precision ends at 65,504."""
BLOCK_ROWS: Final = 512


@dataclass(frozen=True)
class ItemTable:
    """For each of V source titles the K titles it says most about.

    target: int32 [V, K], V where there are fewer than K. value: float16 [V, K], not negative, 0 for padding; half
    precision, because the exported graph stores it so and the reference must agree with it.
    """

    target: NDArray[np.int32]
    value: NDArray[np.float16]

    @cached_property
    def csr(self) -> sp.csr_matrix:
        """The table as float32 [V, V], without the padding."""
        titles = len(self.target)
        kept = self.target < titles
        bounds = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
        entries = (self.value[kept].astype(np.float32), self.target[kept], bounds)
        return sp.csr_matrix(entries, shape=(titles, titles))


def empty_table(titles: int, width: int) -> ItemTable:
    """Return the table that says nothing."""
    return ItemTable(np.full((titles, width), titles, np.int32), np.zeros((titles, width), np.float16))


def fill_rows(table: ItemTable, rows: NDArray[np.int64], block: NDArray[np.float32]) -> None:
    """Keep the largest positive entries of `block`, float32 [rows, V], in the table's rows."""
    titles, width = table.target.shape
    kept = min(width, titles)
    target = np.argpartition(-block, kept - 1, axis=1)[:, :kept]
    value = np.take_along_axis(block, target, axis=1)
    value = np.minimum(value, MAX_VALUE).astype(np.float16)
    positive = value > 0
    table.target[rows, :kept] = np.where(positive, target, titles)
    table.value[rows, :kept] = np.where(positive, value, np.float16(0))


def table_of(matrix: sp.csr_matrix, width: int) -> ItemTable:
    """Return the `width` largest entries of each row of a sparse float [V, V] of no negative entries."""
    titles = matrix.shape[0]
    table = empty_table(titles, width)
    filled = np.diff(matrix.indptr)
    light = np.repeat(filled <= width, filled)
    source = np.repeat(np.arange(titles), filled)[light]
    place = (np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], filled))[light]
    table.target[source, place] = matrix.indices[light]
    table.value[source, place] = np.minimum(matrix.data[light], MAX_VALUE).astype(np.float16)
    heavy = np.flatnonzero(filled > width)
    for start in range(0, len(heavy), BLOCK_ROWS):
        rows = heavy[start : start + BLOCK_ROWS]
        fill_rows(table, rows, matrix[rows].toarray().astype(np.float32))
    return table
