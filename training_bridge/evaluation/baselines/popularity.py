"""Popularity and recent popularity, live: the counters go on after the split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training_bridge.ranker.live_state import StateBatch


@dataclass(frozen=True, slots=True)
class Popularity:
    """Scores every title by one of its live counters. clock: its column in StateBatch.titles."""

    clock: int

    def __call__(self, states: StateBatch) -> NDArray[np.float32]:
        return states.titles[:, :, self.clock]
