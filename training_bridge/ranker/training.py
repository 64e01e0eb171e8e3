"""Training: item-item tables in closed form, then a combiner fitted on the end of the log as it would have been served.

The combiner must see tables that do not know its samples: tables are first built from the events before the holdout,
the combiner is fitted on choices within it, and the tables are built again from all events.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training_bridge.ranker.combiner import Choices, fit_coefficients
from training_bridge.ranker.config import RankerConfig
from training_bridge.ranker.content import genre_vectors, release_age_years, year_buckets, year_closeness
from training_bridge.ranker.ease import ease_table
from training_bridge.ranker.interactions import Interactions
from training_bridge.ranker.item_table import table_of
from training_bridge.ranker.live_state import DAY_MS, MEMBER_FEATURES, live_states, title_features
from training_bridge.ranker.samples import draw_candidates, draw_odds, limit_per_member, predictable_positions
from training_bridge.ranker.signals import compute_signals, never_negative, signal_parts
from training_bridge.ranker.titles_meta import UNKNOWN_YEAR, TitlesMeta
from training_bridge.ranker.transitions import transition_probabilities
from training_bridge.ranker.weights import ItemTables, RankerWeights

FALLBACK_COEFFICIENTS = {"history": 12.0, "sequence": 0.8, "affinity": 2.0, "era": 0.0, "popularity": 0.5}
"""Used when there are too few choices to learn from: about what large logs give."""
MIN_CHOICES = 30


def train(
    interactions: Interactions,
    titles_meta: TitlesMeta,
    *,
    now_ms: int,
    rng: np.random.Generator,
    config: RankerConfig | None = None,
) -> RankerWeights:
    """Return the ranker trained on all interactions. now_ms: events fade from then on; not before the last."""
    config = config or RankerConfig()
    split = round(len(interactions) * (1.0 - config.holdout))
    past = interactions.before(split)
    past_now_ms = int(past.time_ms[-1]) if len(past) else now_ms
    past_tables = build_tables(past, titles_meta, past_now_ms, config)
    choices = holdout_choices(interactions, split, past_tables, config, rng)
    coefficients, loss = fit_or_fall_back(choices, config)
    return RankerWeights(
        titles=interactions.titles,
        config=config,
        tables=build_tables(interactions, titles_meta, now_ms, config),
        coefficients=coefficients,
        member_features=MEMBER_FEATURES,
        title_features=title_features(config.popularity_half_lives_d),
        metrics={"holdout_choices": float(len(choices.weight)), "holdout_log_loss": loss},
    )


def build_tables(log: Interactions, meta: TitlesMeta, now_ms: int, config: RankerConfig) -> ItemTables:
    """Return what the item-item estimators learn from the log, and the catalogue's facts."""
    engaged = log.where(log.first_engagements())
    years, title_year = year_buckets(meta)
    transitions = transition_probabilities(
        engaged,
        fading(engaged, now_ms, config.transition_half_life_d),
        window=config.transition_window,
        distance_power=config.transition_distance_power,
        backward=config.transition_backward,
        shrinkage=config.transition_shrinkage,
    )
    taken_up = engagement_matrix(engaged, fading(engaged, now_ms, 2 * config.similar_half_life_d))
    return ItemTables(
        similar=ease_table(taken_up, l2=config.similar_l2, width=config.table_width, max_dense=config.max_dense),
        transitions=table_of(transitions, config.table_width),
        genre_vectors=genre_vectors(meta),
        title_year=title_year,
        year_closeness=year_closeness(years, config.year_scale),
        release_age_years=release_age_years(meta, now_ms),
        dated=meta.year != UNKNOWN_YEAR,
    )


def fading(log: Interactions, now_ms: int, half_life_d: float) -> NDArray[np.float32]:
    """Return float32 [N]: 1 for an event of now, 0.5 for one a half-life old."""
    age_d = np.maximum(now_ms - log.time_ms, 0) / DAY_MS
    return np.asarray(0.5 ** (age_d / half_life_d), np.float32)


def engagement_matrix(engaged: Interactions, weight: NDArray[np.float32]) -> sp.csr_matrix:
    """Return float32 [members, V] of the weights of first engagements."""
    shape = (max(engaged.members, 1), len(engaged.titles))
    return sp.csr_matrix((weight, (engaged.member, engaged.title)), shape=shape)


def holdout_choices(
    log: Interactions,
    split: int,
    tables: ItemTables,
    config: RankerConfig,
    rng: np.random.Generator,
) -> Choices:
    """Return choices drawn from the events from `split` on, with the signals that the tables gave just before each."""
    known = np.zeros(len(log.titles), bool)
    known[log.title[:split]] = True
    positions = predictable_positions(log, split, known, config.min_history)
    positions = limit_per_member(log, positions, config.samples_per_member, rng)
    positions = np.sort(rng.permutation(positions)[: config.samples])
    odds = draw_odds(log, split)
    drawn, correction = draw_candidates(log, positions, known, odds, config.candidates, rng)
    rows = [np.zeros((0, drawn.shape[1], len(signal_parts(config))), np.float32)]
    states = live_states(
        log, positions, history_length=config.history_length, half_lives_d=config.popularity_half_lives_d
    )
    for batch in states:
        signals = compute_signals(tables, config, batch)
        start = sum(len(block) for block in rows)
        columns = drawn[start : start + signals.shape[1]]
        rows.append(np.moveaxis(np.take_along_axis(signals, columns[None], axis=2), 0, 2))
    return Choices(np.concatenate(rows), correction, member_weights(log.member[positions]))


def member_weights(member: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return float64 [N], summing to 1: a member's weight grows with the root of their choices.

    Between every member alike, which is what is measured, and every choice alike, which is the least noisy.
    """
    _, inverse, counts = np.unique(member, return_inverse=True, return_counts=True)
    weight = counts[inverse] ** -0.5
    return np.asarray(weight / max(weight.sum(), 1e-12), np.float64)


def fit_or_fall_back(choices: Choices, config: RankerConfig) -> tuple[NDArray[np.float32], float]:
    """Return coefficients, float32 [S], and their log-loss on the choices (nan if there are too few to fit)."""
    if len(choices.weight) >= MIN_CHOICES:
        return fit_coefficients(
            choices, never_negative=never_negative(config), l2=config.l2, max_steps=config.max_steps
        )
    parts = signal_parts(config)
    fallback = [FALLBACK_COEFFICIENTS[part] / parts.count(part) for part in parts]
    return np.asarray(fallback, np.float32), float("nan")
