"""EASE in full: dense weights, as published. (Steck, WWW 2019.)"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training_bridge.evaluation.baselines.history_model import taken_up
from training_bridge.ranker.ease import ease_blocks
from training_bridge.ranker.interactions import Interactions


@dataclass(frozen=True, slots=True)
class Ease:
    """weights: float32 [V, V], from a title of the history to a candidate."""

    weights: NDArray[np.float32]

    def score(self, history: sp.csr_matrix) -> NDArray[np.float32]:
        """See HistoryModel."""
        return np.asarray(history @ self.weights, np.float32)


def fit_ease(log: Interactions, *, l2: float) -> Ease:
    """Return the model."""
    titles = len(log.titles)
    weights = np.zeros((titles, titles), np.float32)
    for rows, block in ease_blocks(taken_up(log), l2):
        weights[rows] = block
    return Ease(weights)
