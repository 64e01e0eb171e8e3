"""The live state just before given events: what serving would read at that moment, replayed from the log.

Serving reads the same from the feature store; this is its vectorised counterpart for training and evaluation. Features:

- `popularity:<n>d`: events of the title with positive strength, each fading with half-life n days.
- `recency_s`: seconds from the member's latest event to now; NO_HISTORY_S without any.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training_bridge.ranker.interactions import Interactions

MEMBER_FEATURES: Final = ("recency_s",)
NO_HISTORY_S: Final = 0.0
DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class StateBatch:
    """B states. history_title: int64 [B, H], newest first, V for padding. history_age_s, history_strength: float32 [B,
    H]. member: float32 [B, M]. titles: float32 [B, V, F].
    """

    history_title: NDArray[np.int64]
    history_age_s: NDArray[np.float32]
    history_strength: NDArray[np.float32]
    member: NDArray[np.float32]
    titles: NDArray[np.float32]


def title_features(half_lives_d: tuple[int, ...]) -> tuple[str, ...]:
    """Return the names of the title features, in the order of StateBatch.titles."""
    return tuple(f"popularity:{half_life}d" for half_life in half_lives_d)


class LivePopularity:
    """Forward-decayed counts of every title, for several half-lives. (Cormode et al., "Forward decay", ICDE 2009.)"""

    def __init__(self, titles: int, half_lives_d: tuple[int, ...], start_ms: int) -> None:
        self._rate_ms = np.log(2.0) / (np.asarray(half_lives_d, np.float64) * DAY_MS)
        self._counts = np.zeros((titles, len(half_lives_d)))
        self._at_ms = start_ms

    def advance(self, log: Interactions, start: int, stop: int, now_ms: int) -> None:
        """Take in the log's events from start to stop, none later than now_ms, and let all counts fade to now_ms."""
        self._counts *= np.exp(-self._rate_ms * (now_ms - self._at_ms))
        spoken = np.flatnonzero(log.strength[start:stop] > 0) + start
        weight = np.exp(-self._rate_ms * (now_ms - log.time_ms[spoken])[:, None])
        np.add.at(self._counts, log.title[spoken], weight)
        self._at_ms = now_ms

    def counts(self) -> NDArray[np.float64]:
        """Return float64 [V, half-lives], as of the last advance."""
        return self._counts


class MemberHistories:
    """Each member's events as positions in the log, for slices of the newest before a moment."""

    def __init__(self, log: Interactions) -> None:
        order = np.argsort(log.member, kind="stable")
        bounds = np.searchsorted(log.member[order], np.arange(log.members + 1))
        self._log = log
        self._events = [order[bounds[m] : bounds[m + 1]] for m in range(log.members)]

    def before(self, member: int, position: int) -> NDArray[np.int64]:
        """Return the positions of the member's events before `position` of the log, oldest first."""
        events = self._events[member]
        return events[: int(np.searchsorted(events, position))]


def live_states(
    log: Interactions,
    positions: NDArray[np.int64],
    *,
    history_length: int,
    half_lives_d: tuple[int, ...],
    batch_size: int = 128,
    frozen_at: int | None = None,
) -> Iterator[StateBatch]:
    """Yield the states just before the events at `positions` (ascending) of the log, in batches.

    frozen_at: if given, no event at or after this position of the log is seen; ages still run to the event's time.
    """
    histories = MemberHistories(log)
    popularity = LivePopularity(len(log.titles), half_lives_d, int(log.time_ms[0]) if len(log) else 0)
    done = 0
    for start in range(0, len(positions), batch_size):
        chosen = positions[start : start + batch_size]
        batch = _empty_batch(len(chosen), history_length, len(log.titles), len(half_lives_d))
        for row, position in enumerate(chosen):
            now_ms, limit = int(log.time_ms[position]), min(int(position), frozen_at or int(position))
            popularity.advance(log, done, limit, now_ms)
            done = max(done, limit)
            batch.titles[row] = popularity.counts()
            _fill_member(batch, row, log, histories.before(int(log.member[position]), limit), now_ms)
        yield batch


def _empty_batch(rows: int, history_length: int, titles: int, features: int) -> StateBatch:
    return StateBatch(
        np.full((rows, history_length), titles, np.int64),
        np.zeros((rows, history_length), np.float32),
        np.zeros((rows, history_length), np.float32),
        np.full((rows, len(MEMBER_FEATURES)), NO_HISTORY_S, np.float32),
        np.zeros((rows, titles, features), np.float32),
    )


def _fill_member(batch: StateBatch, row: int, log: Interactions, events: NDArray[np.int64], now_ms: int) -> None:
    """Write one member's part of a state, from the positions of their events, oldest first."""
    newest = events[::-1][: batch.history_title.shape[1]]
    if not len(newest):
        return
    age_s = ((now_ms - log.time_ms[newest]) / 1_000.0).astype(np.float32)
    batch.history_title[row, : len(newest)] = log.title[newest]
    batch.history_age_s[row, : len(newest)] = age_s
    batch.history_strength[row, : len(newest)] = log.strength[newest]
    batch.member[row, 0] = age_s[0]
