"""A sparse item-item table of fixed width: the form in which estimators reach the graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ItemTable:
    """For each of V source titles the K titles it says most about.

    target: int32 [V, K], V where there are fewer than K. value: float16 [V, K], not negative, 0 for padding; half
    precision, because the exported graph stores it so and the reference must agree with it.
    """

    target: NDArray[np.int32]
    value: NDArray[np.float16]

    def to_csr(self) -> sp.csr_matrix:
        """Return float32 [V, V], without the padding."""
        titles, width = self.target.shape
        kept = self.target.ravel() < titles
        source = np.repeat(np.arange(titles), width)[kept]
        entries = (self.value.ravel()[kept].astype(np.float32), (source, self.target.ravel()[kept]))
        return sp.csr_matrix(entries, shape=(titles, titles))


def empty_table(titles: int, width: int) -> ItemTable:
    """Return the table that says nothing."""
    return ItemTable(np.full((titles, width), titles, np.int32), np.zeros((titles, width), np.float16))


def fill_rows(table: ItemTable, rows: slice, block: NDArray[np.float32]) -> None:
    """Keep the largest positive entries of `block`, float32 [rows, V], in the table's rows."""
    titles, width = table.target.shape
    kept = min(width, titles)
    target = np.argpartition(-block, kept - 1, axis=1)[:, :kept]
    value = np.take_along_axis(block, target, axis=1)
    order = np.argsort(-value, axis=1, kind="stable")
    target, value = np.take_along_axis(target, order, axis=1), np.take_along_axis(value, order, axis=1)
    value = np.minimum(value, np.float32(6e4)).astype(np.float16)
    positive = value > 0
    table.target[rows, :kept] = np.where(positive, target, titles)
    table.value[rows, :kept] = np.where(positive, value, np.float16(0))


def table_of(matrix: sp.csr_matrix, width: int, block_rows: int = 512) -> ItemTable:
    """Return the `width` largest positive entries of each row of a sparse float [V, V]."""
    table = empty_table(matrix.shape[0], width)
    for start in range(0, matrix.shape[0], block_rows):
        rows = slice(start, min(start + block_rows, matrix.shape[0]))
        fill_rows(table, rows, matrix[rows].toarray().astype(np.float32))
    return table
