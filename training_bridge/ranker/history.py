"""What a member's history says of their present interest: a weight a title, by how recent and how liked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

MIN_STRENGTH: Final = -1.5
MAX_STRENGTH: Final = 2.0
SKIPPED_STRENGTH: Final = -0.5
REPELLING_STRENGTH: Final = -1.0


@dataclass(frozen=True, slots=True)
class DistinctHistory:
    """B histories in which each title counts once, where it was last seen.

    title: int64 [B, H], V for padding. rank: float32 [B, H], distinct titles that are newer. strength: float32 [B, H],
    the sum over the title's events, limited to MIN_STRENGTH..MAX_STRENGTH. counts: bool [B, H], false for padding and
    repeats.
    """

    title: NDArray[np.int64]
    rank: NDArray[np.float32]
    strength: NDArray[np.float32]
    counts: NDArray[np.bool_]


def distinct_history(title: NDArray[np.int64], strength: NDArray[np.float32], titles: int) -> DistinctHistory:
    """Return the distinct form of int64 [B, H] titles, newest first, and their events' float32 [B, H] strengths."""
    same = title[:, :, None] == title[:, None, :]
    newer = np.tri(title.shape[1], k=-1, dtype=bool)
    counts = ~np.any(same & newer, axis=2) & (title < titles)
    total = np.einsum("bij,bj->bi", same.astype(np.float32), strength)
    rank = np.maximum(np.cumsum(counts, axis=1) - 1, 0).astype(np.float32)
    return DistinctHistory(title, rank, np.clip(total, MIN_STRENGTH, MAX_STRENGTH).astype(np.float32), counts)


def interest(strength: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the interest that a strength stands for: 1 from strength 1 up, 0 from -0.5 to -1, -0.5 at -1.5.

    A title skipped, removed or rated low says next to nothing of what comes next (on MovieLens its weight hardly
    matters); only a plain dislike, the one event stronger than -1, repels.
    """
    attracted = np.clip((strength - np.float32(SKIPPED_STRENGTH)) / np.float32(1.0 - SKIPPED_STRENGTH), 0.0, 1.0)
    repelled = np.clip(np.float32(REPELLING_STRENGTH) - strength, 0.0, 1.0)
    return np.asarray(attracted - repelled, np.float32)


def history_weights(history: DistinctHistory, power: float) -> NDArray[np.float32]:
    """Return float32 [B, H]: interest x (1 + rank) ^ -power, 0 where the history does not count."""
    fading = (1.0 + history.rank) ** np.float32(-power)
    return (interest(history.strength) * fading * history.counts).astype(np.float32)
