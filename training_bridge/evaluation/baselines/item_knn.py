"""Item-kNN: cosine between titles by the members they share, shrunk, the nearest neighbours only.

Sarwar et al., "Item-based collaborative filtering recommendation algorithms" (WWW 2001); shrinkage as in Bell and Koren
(2007).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training_bridge.evaluation.baselines.history_model import taken_up
from training_bridge.ranker.interactions import Interactions
from training_bridge.ranker.item_table import table_of


@dataclass(frozen=True, slots=True)
class ItemKnn:
    """likeness: float32 [V, V], from a title of the history to a candidate."""

    likeness: sp.csr_matrix

    def score(self, history: sp.csr_matrix) -> NDArray[np.float32]:
        """See HistoryModel."""
        return np.asarray((history @ self.likeness).toarray(), np.float32)


def fit_item_knn(log: Interactions, *, neighbours: int, shrinkage: float) -> ItemKnn:
    """Return the model. Each title keeps its `neighbours` nearest; shrinkage is added to the cosine's denominator."""
    matrix = taken_up(log)
    common = (matrix.T @ matrix).tocoo()
    size = common.tocsr().diagonal()
    off = common.row != common.col
    row, column = common.row[off], common.col[off]
    cosine = common.data[off] / (np.sqrt(size[row] * size[column]) + shrinkage)
    nearest = table_of(sp.csr_matrix((cosine.astype(np.float32), (row, column)), shape=common.shape), neighbours)
    return ItemKnn(nearest.csr)
