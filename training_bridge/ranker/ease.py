"""EASE: the linear autoencoder without self-similarity, in closed form, with weights that fade with an event's age.

Steck, "Embarrassingly Shallow Autoencoders for Sparse Data" (WWW 2019), eq. 8: with P = (X'X + l2 I)^-1, the weight of
title i for title j is B[i, j] = -P[i, j] / P[j, j]. Fewer members than titles, and P comes from the members' Gram
matrix (Woodbury), which costs members^2 x titles rather than titles^3.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from training_bridge.ranker.item_table import ItemTable, empty_table, fill_rows

BLOCK_ROWS = 1_024


def ease_table(matrix: sp.csr_matrix, *, l2: float, width: int, max_dense: int) -> ItemTable:
    """Return EASE's weights, source title -> target title, from float32 [members, V] of weighted engagements."""
    table = empty_table(matrix.shape[1], width)
    used = titles_used(matrix, max_dense)
    for rows, block in ease_blocks(matrix[:, used], l2):
        wide = np.zeros((len(block), matrix.shape[1]), np.float32)
        wide[:, used] = block
        fill_rows(table, used[rows], wide)
    return table


def titles_used(matrix: sp.csr_matrix, max_dense: int) -> NDArray[np.int64]:
    """Return the titles that take part: all that have events, or the busiest where the system would be too large."""
    counts = np.asarray((matrix != 0).sum(axis=0)).ravel()
    used = np.flatnonzero(counts)
    if min(matrix.shape[0], len(used)) > max_dense:
        used = np.sort(np.argsort(-counts, kind="stable")[:max_dense])
    return used


def ease_blocks(matrix: sp.csr_matrix, l2: float) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield EASE's weights in blocks of rows: (source rows, float32 [rows, titles])."""
    members, titles = matrix.shape
    if not titles:
        return
    product = dual_product(matrix, l2) if members <= titles else primal_product(matrix, l2)
    diagonal = 1.0 - np.asarray(matrix.multiply(product).sum(axis=0)).ravel()
    scale = (1.0 / np.maximum(diagonal, 1e-6)).astype(np.float32)
    transposed = matrix.T.tocsr()
    for start in range(0, titles, BLOCK_ROWS):
        rows = slice(start, min(start + BLOCK_ROWS, titles))
        block = np.asarray(transposed[rows] @ product, np.float32) * scale
        block[np.arange(len(block)), np.arange(rows.start, rows.stop)] = 0.0
        yield rows, block


def dual_product(matrix: sp.csr_matrix, l2: float) -> NDArray[np.float32]:
    """Return (XX' + l2 I)^-1 X, float32 [members, titles]: then l2 P = I - X' times it."""
    gram = (matrix @ matrix.T).toarray()
    gram[np.diag_indices_from(gram)] += l2
    solved: NDArray[np.float32] = scipy.linalg.solve(gram, matrix.toarray(), assume_a="pos", overwrite_a=True)
    return solved


def primal_product(matrix: sp.csr_matrix, l2: float) -> NDArray[np.float32]:
    """Return X (X'X + l2 I)^-1, float32 [members, titles]: the same matrix, when titles are fewer than members."""
    gram = (matrix.T @ matrix).toarray()
    gram[np.diag_indices_from(gram)] += l2
    inverse = scipy.linalg.inv(gram, overwrite_a=True)
    return np.asarray(matrix @ inverse, np.float32)
