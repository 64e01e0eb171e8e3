"""Ranking metrics of one relevant title, from its rank among the candidates.

rank: float64 [N], the number of candidates scored above the relevant title plus half of those tied with it: 0 is the
top. With one relevant title the ideal gain is 1, so that NDCG@k is its discounted gain.
(Järvelin and Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002.)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def ranks(scores: NDArray[np.float32], target: NDArray[np.int64], allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return float64 [N] for scores, float32 [N, V], of which only `allowed`, bool [N, V], compete. Nan ranks last."""
    clean = np.where(np.isnan(scores), -np.inf, scores)
    own = np.take_along_axis(clean, target[:, None], axis=1)
    above = np.sum((clean > own) & allowed, axis=1)
    level = np.sum((clean == own) & allowed, axis=1)
    tied = level - np.take_along_axis(allowed, target[:, None], axis=1)[:, 0]
    result: NDArray[np.float64] = above + tied / 2.0
    return result


def hit_rate(rank: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return HR@k = [rank < k], float64 [N]."""
    return (rank < k).astype(np.float64)


def ndcg(rank: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return NDCG@k = [rank < k] / log2(rank + 2), float64 [N]."""
    return hit_rate(rank, k) / np.log2(rank + 2.0)


def mean_per_member(value: NDArray[np.float64], member: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return each member's mean, float64 [members present], by ascending member; empty for no predictions."""
    _, inverse, counts = np.unique(member, return_inverse=True, return_counts=True)
    sums = np.bincount(inverse, weights=value, minlength=len(counts))
    result: NDArray[np.float64] = sums / np.maximum(counts, 1)
    return result
