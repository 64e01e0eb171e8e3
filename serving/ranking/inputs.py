"""How a member's state becomes the arrays that a ranking model sees: the same code for serving and for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from streams.features.strength import strength


class HistoryLike(Protocol):
    """One event of a member's recent history, as streams.features.member yields them, newest first."""

    @property
    def item_id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def event_time_ms(self) -> int: ...
    @property
    def value(self) -> float | None: ...


class HistoryArrays(NamedTuple):
    """A history as a model sees it, newest first, padded. titles: int64 [H]; ages_s, strengths: float32 [H]."""

    titles: NDArray[np.int64]
    ages_s: NDArray[np.float32]
    strengths: NDArray[np.float32]


def encode_history(
    history: Sequence[HistoryLike], vocabulary: Mapping[str, int], length: int, now_ms: int
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
        row_of = vocabulary.get
        titles[:count] = [row_of(entry.item_id, unknown) for entry in recent]
        times_ms = np.array([entry.event_time_ms for entry in recent], np.int64)
        ages_s[:count] = np.maximum(now_ms - times_ms, 0) / 1000
        strengths[:count] = [strength(entry.type, entry.value) for entry in recent]
    return HistoryArrays(titles, ages_s, strengths)
