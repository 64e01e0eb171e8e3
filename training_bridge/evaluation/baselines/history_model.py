"""What the personalised baselines have in common: fitted on who took up what, they score a windowed history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training_bridge.evaluation.baselines.window import Window, windowed_history
from training_bridge.ranker.interactions import Interactions
from training_bridge.ranker.live_state import StateBatch
from training_bridge.ranker.training import engagement_matrix


class HistoryModel(Protocol):
    """A fitted baseline."""

    def score(self, history: sp.csr_matrix) -> NDArray[np.float32]:
        """Return float32 [B, V] for weighted histories, float32 [B, V]."""
        ...


@dataclass(frozen=True, slots=True)
class WindowedScorer:
    """A baseline with its window: a `prequential.Scorer`."""

    model: HistoryModel
    window: Window

    def __call__(self, states: StateBatch) -> NDArray[np.float32]:
        return self.model.score(windowed_history(states, self.window))


def taken_up(log: Interactions) -> sp.csr_matrix:
    """Return float32 [members, V], 1 where a member engaged with a title."""
    engaged = log.where(log.first_engagements())
    return engagement_matrix(engaged, np.ones(len(engaged), np.float32))
