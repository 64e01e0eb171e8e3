"""How a member's state becomes the arrays that a ranking model sees: the same code for serving and for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.features.history import HistoryEntry
from streams.features.strength import strength

STRENGTHS_KEPT: Final = 1024
"""Pairs of event type and value: there are ten ratings; only watched seconds come in any number."""

_strength = lru_cache(maxsize=STRENGTHS_KEPT)(strength)


class HistoryArrays(NamedTuple):
    """A history as a model sees it, newest first, padded. titles: int64 [H]; ages_s, strengths: float32 [H]."""

    titles: NDArray[np.int64]
    ages_s: NDArray[np.float32]
    strengths: NDArray[np.float32]


def encode_history(
    history: Sequence[HistoryEntry], vocabulary: Mapping[str, int], length: int, now_ms: int
) -> HistoryArrays:
    """Return the newest `length` events as arrays; padding has title V = len(vocabulary), age 0 and strength 0.

    Titles outside of the vocabulary become V too and keep their age and strength; events after `now_ms` have age 0.
    """
    unknown = len(vocabulary)
    titles = np.full(length, unknown, np.int64)
    ages_s = np.zeros(length, np.float32)
    strengths = np.zeros(length, np.float32)
    recent = history[:length]
    if recent:
        count = len(recent)
        item_ids, types, times_ms, values = zip(*recent, strict=True)
        row_of = vocabulary.get
        titles[:count] = [row_of(item_id, unknown) for item_id in item_ids]
        ages_s[:count] = np.maximum(now_ms - np.array(times_ms, np.int64), 0) / 1000
        strengths[:count] = list(map(_strength, types, values))
    return HistoryArrays(titles, ages_s, strengths)
