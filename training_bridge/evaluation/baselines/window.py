"""How much of the live history a baseline sees: the newest titles alike, or all of them fading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training_bridge.ranker.history import distinct_history
from training_bridge.ranker.live_state import StateBatch


@dataclass(frozen=True, slots=True)
class Window:
    """The newest `length` titles, the one of rank r weighing (1 + r) ^ -power."""

    name: str
    length: int
    power: float = 0.0


WINDOWS: Final = (
    *(Window(f"last {length}", length) for length in (1, 2, 3, 5, 10, 20, 50, 128)),
    Window("fading", 128, 0.7),
    Window("fading fast", 128, 1.0),
)


def windowed_history(states: StateBatch, window: Window) -> sp.csr_matrix:
    """Return the histories within the window, float32 [B, V]. What a member thought of a title does not count."""
    titles = states.titles.shape[1]
    history = distinct_history(states.history_title, states.history_strength, titles)
    row, column = np.nonzero(history.counts & (history.rank < window.length))
    weight = (1.0 + history.rank[row, column]) ** np.float32(-window.power)
    entries: tuple[NDArray[np.float32], tuple[NDArray[np.int64], NDArray[np.int64]]]
    entries = (weight.astype(np.float32), (row, history.title[row, column]))
    return sp.csr_matrix(entries, shape=(len(history.title), titles))
