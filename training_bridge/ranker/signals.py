"""The signals: what each source says of each title, before the combiner weighs them.

Every signal is 0 for a title of which its source knows nothing, so that a title's parts can be read as reasons. The
signals of era are the exception: the mean over dated titles for one without a year, since 0 would be an extreme.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training_bridge.ranker.config import RankerConfig
from training_bridge.ranker.history import DistinctHistory, distinct_history, history_weights
from training_bridge.ranker.live_state import StateBatch
from training_bridge.ranker.weights import ItemTables

PARTS: Final = ("history", "sequence", "affinity", "era", "popularity")
POPULARITY_FLOOR: Final = 0.3
"""In units of the mean title's popularity: below it, differences are noise."""
YEAR_FLOOR: Final = 0.02
CLASSIC_LOG_YEARS: Final = 2.0
"""log(1 + years) from which age counts differently: a title of some six years is no longer new."""
DAY_S: Final = 86_400.0


def signal_parts(config: RankerConfig) -> tuple[str, ...]:
    """Return the part to which each of the S signals belongs."""
    clocks = len(config.popularity_half_lives_d)
    return (
        "history",
        "history",
        "sequence",
        "sequence",
        "affinity",
        "era",
        "era",
        "era",
        *["popularity"] * (clocks + 1),
    )


def never_negative(config: RankerConfig) -> NDArray[np.bool_]:
    """Return bool [S]: the signals of likeness to the history. Fitted freely they would correct each other's shape, and
    a title could lose by being more alike."""
    return np.array([part in {"history", "sequence", "affinity"} for part in signal_parts(config)])


def compute_signals(tables: ItemTables, config: RankerConfig, states: StateBatch) -> NDArray[np.float32]:
    """Return float32 [S, B, V]."""
    return np.stack(
        [np.broadcast_to(signal, states.titles.shape[:2]) for signal in each_signal(tables, config, states)]
    )


def each_signal(tables: ItemTables, config: RankerConfig, states: StateBatch) -> Iterator[NDArray[np.float32]]:
    """Yield the signals, float32 [B, V] or [1, V] each, in the order of signal_parts."""
    titles = len(tables.genre_vectors)
    history = distinct_history(states.history_title, states.history_strength, titles)
    yield similar_signal(tables, config, history)
    yield last_similar_signal(tables, config, history)
    yield transition_signal(tables, config, history, config.transition_history_power)
    yield transition_signal(tables, config, history, config.fast_history_power)
    yield genre_signal(tables, config, history)
    yield year_signal(tables, config, history)
    yield from release_age_signals(tables)
    popularity = popularity_signals(states.titles)
    yield from popularity
    yield popularity[0] * away(states.member[:, 0])[:, None]


def history_matrix(history: DistinctHistory, weight: NDArray[np.float32], titles: int) -> sp.csr_matrix:
    """Return the weighted histories as float32 [B, V]."""
    row, column = np.nonzero(history.counts)
    entries = (weight[row, column], (row, history.title[row, column]))
    return sp.csr_matrix(entries, shape=(len(weight), titles))


def shares(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return float32 [B, H] scaled so that a row's absolute values sum to 1 (0 for an empty history)."""
    total = np.abs(weight).sum(axis=1, keepdims=True)
    return np.asarray(weight / np.maximum(total, np.float32(1e-6)), np.float32)


def similar_signal(tables: ItemTables, config: RankerConfig, history: DistinctHistory) -> NDArray[np.float32]:
    """Return float32 [B, V]: the root of EASE's score for the recency-weighted history."""
    weight = history_weights(history, config.similar_history_power)
    score = dense(history_matrix(history, weight, len(tables.genre_vectors)) @ tables.similar.csr)
    floor = np.float32(config.similar_floor)
    return np.asarray(np.sqrt(np.maximum(score, 0) + floor) - np.sqrt(floor), np.float32)


def last_similar_signal(tables: ItemTables, config: RankerConfig, history: DistinctHistory) -> NDArray[np.float32]:
    """Return float32 [B, V]: EASE's score for the last few titles. Linear, so that a sequel stands out."""
    weight = history_weights(history, config.fast_history_power)
    score = dense(history_matrix(history, weight, len(tables.genre_vectors)) @ tables.similar.csr)
    return np.maximum(score, 0)


def transition_signal(
    tables: ItemTables, config: RankerConfig, history: DistinctHistory, power: float
) -> NDArray[np.float32]:
    """Return float32 [B, V]: the log of the chance that a title follows, mixed over the history."""
    weight = shares(history_weights(history, power))
    chance = dense(history_matrix(history, weight, len(tables.genre_vectors)) @ tables.transitions.csr)
    floor = np.float32(config.transition_floor)
    return np.asarray(np.log(np.maximum(chance, 0) / floor + 1), np.float32)


def genre_signal(tables: ItemTables, config: RankerConfig, history: DistinctHistory) -> NDArray[np.float32]:
    """Return float32 [B, V]: the inner product of the history's genres and the title's."""
    weight = shares(history_weights(history, config.content_history_power))
    profile = history_matrix(history, weight, len(tables.genre_vectors)) @ tables.genre_vectors
    return np.asarray(profile @ tables.genre_vectors.T, np.float32)


def year_signal(tables: ItemTables, config: RankerConfig, history: DistinctHistory) -> NDArray[np.float32]:
    """Return float32 [B, V]: the log of how near the title's release year is to those of the history, the mean of that
    over dated titles for one without a year."""
    weight = shares(history_weights(history, config.content_history_power))
    row, column = np.nonzero(history.counts)
    years = np.zeros((len(weight), len(tables.year_closeness)), np.float32)
    np.add.at(years, (row, tables.title_year[history.title[row, column]]), weight[row, column])
    near = np.log(np.maximum(years @ tables.year_closeness, 0) / np.float32(YEAR_FLOOR) + 1)
    return np.asarray((near @ year_mix(tables))[:, tables.title_year], np.float32)


def year_mix(tables: ItemTables) -> NDArray[np.float32]:
    """Return float32 [Y, Y]: what a year takes of each year's signal, in columns. Known years take their own, the
    unknown one the mean over dated titles (its own where there are none)."""
    mix = np.eye(len(tables.year_closeness), dtype=np.float32)
    if tables.dated.any():
        dated = np.bincount(tables.title_year[tables.dated], minlength=len(mix)) / tables.dated.sum()
        mix[:, tables.title_year[~tables.dated]] = dated[:, None]
    return mix


def release_age_signals(tables: ItemTables) -> list[NDArray[np.float32]]:
    """Return log(1 + age), and how far it is past CLASSIC_LOG_YEARS: float32 [1, V] each, the same for every member.

    The age is that of the training run: a live one measures the same (MovieLens, years after the run), at more cost.
    """
    log_age = np.log1p(tables.release_age_years)
    past = np.maximum(log_age - np.float32(CLASSIC_LOG_YEARS), 0)
    return [neutral_if_undated(signal, tables.dated)[None] for signal in (log_age, past)]


def neutral_if_undated(signal: NDArray[np.float32], dated: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return float32 [V]: the signal, with its mean over dated titles for the others (unchanged if none is)."""
    if not dated.any():
        return signal
    return np.where(dated, signal, signal[dated].mean()).astype(np.float32)


def popularity_signals(counts: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return, for float32 [B, V, clocks], the log popularity in units of the mean title's, float32 [B, V] for each."""
    total = np.maximum(counts.sum(axis=1, keepdims=True), np.float32(1e-6))
    relative = counts / total * np.float32(counts.shape[1])
    logs = np.log(relative / np.float32(POPULARITY_FLOOR) + 1)
    return [logs[:, :, clock] for clock in range(counts.shape[2])]


def away(recency_s: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how long the member was away, as log(1 + days) / 5: what is popular counts differently on return."""
    return np.asarray(np.log1p(np.maximum(recency_s, 0) / np.float32(DAY_S)) / 5.0, np.float32)


def dense(matrix: sp.csr_matrix) -> NDArray[np.float32]:
    """Return a sparse result as float32 [B, V]."""
    return np.asarray(matrix.toarray(), np.float32)
