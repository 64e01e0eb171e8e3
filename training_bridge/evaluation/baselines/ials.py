"""iALS by the `implicit` library; a live history is folded in by the closed form for its factors.

Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets" (ICDM 2008), eq. 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training_bridge.evaluation.baselines.history_model import taken_up
from training_bridge.ranker.interactions import Interactions

ITERATIONS = 15


@dataclass(frozen=True, slots=True)
class Ials:
    """factors: float32 [V, D] of the titles. alpha: confidence in an engagement. l2: of a member's factors."""

    factors: NDArray[np.float32]
    alpha: float
    l2: float

    def score(self, history: sp.csr_matrix) -> NDArray[np.float32]:
        """See HistoryModel."""
        rank = self.factors.shape[1]
        gram = self.factors.T @ self.factors + self.l2 * np.eye(rank, dtype=np.float32)
        bounds = history.indptr
        left = np.repeat(gram[None], history.shape[0], axis=0)
        for row in range(history.shape[0]):
            own = self.factors[history.indices[bounds[row] : bounds[row + 1]]]
            confidence = self.alpha * history.data[bounds[row] : bounds[row + 1]]
            left[row] += own.T @ (confidence[:, None] * own)
        wanted = history.sign() + self.alpha * history
        right = np.asarray(wanted @ self.factors, np.float32)
        members = np.linalg.solve(left, right[:, :, None])[:, :, 0]
        return np.asarray(members @ self.factors.T, np.float32)


def fit_ials(log: Interactions, *, rank: int, alpha: float, l2: float, seed: int = 0) -> Ials:
    """Return the model. Raises ImportError where the `implicit` library is not installed."""
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=rank,
        regularization=l2,
        alpha=alpha,
        iterations=ITERATIONS,
        num_threads=1,
        random_state=seed,
        use_gpu=False,
    )
    model.fit(taken_up(log), show_progress=False)
    return Ials(np.asarray(model.item_factors, np.float32), alpha, l2)
