"""Training: learns what follows what, survives data that says little, and repeats itself."""

from __future__ import annotations

import numpy as np
import pytest

from tests.training_bridge.ranker.synthetic import SMALL, START_MS, small_world, world_of
from training_bridge.ranker.interactions import Interactions
from training_bridge.ranker.live_state import StateBatch, live_states
from training_bridge.ranker.scoring import part_scores, score
from training_bridge.ranker.titles_meta import TitlesMeta
from training_bridge.ranker.training import train
from training_bridge.ranker.weights import RankerWeights

NOW_MS = START_MS + 10**10


def trained(log: Interactions, meta: TitlesMeta, seed: int = 0) -> RankerWeights:
    return train(log, meta, now_ms=NOW_MS, rng=np.random.default_rng(seed), config=SMALL)


def state(titles: int, history: list[int], strengths: list[float] | None = None) -> StateBatch:
    batch = StateBatch(
        np.full((1, SMALL.history_length), titles, np.int64),
        np.zeros((1, SMALL.history_length), np.float32),
        np.zeros((1, SMALL.history_length), np.float32),
        np.zeros((1, 1), np.float32),
        np.ones((1, titles, len(SMALL.popularity_half_lives_d)), np.float32),
    )
    batch.history_title[0, : len(history)] = history
    batch.history_strength[0, : len(history)] = strengths or [1.0] * len(history)
    return batch


def test_the_next_title_of_a_chain_ranks_first() -> None:
    log, meta = small_world()
    scores = score(trained(log, meta), state(30, [7]))[0]
    assert int(np.argmax(np.delete(scores, 7))) == 7


def test_an_event_changes_the_ranking_without_training() -> None:
    log, meta = small_world()
    weights = trained(log, meta)
    before = np.argsort(-score(weights, state(30, [3]))[0])
    after = np.argsort(-score(weights, state(30, [20, 3]))[0])
    assert list(before) != list(after)


def test_a_dislike_repels_what_it_would_have_attracted() -> None:
    log, meta = small_world()
    weights = trained(log, meta)
    liked = score(weights, state(30, [7, 20], [1.5, 1.0]))[0]
    disliked = score(weights, state(30, [7, 20], [-1.5, 1.0]))[0]
    assert disliked[8] < liked[8]


def test_a_repeated_title_counts_once_with_the_sum_of_its_strengths() -> None:
    log, meta = small_world()
    weights = trained(log, meta)
    once, repeated = state(30, [7, 20], [1.0, 1.0]), state(30, [7, 7, 20], [0.6, 0.4, 1.0])
    np.testing.assert_allclose(score(weights, once), score(weights, repeated), atol=1e-5)


def test_parts_sum_to_the_score() -> None:
    log, meta = small_world()
    weights = trained(log, meta)
    batch = state(30, [1, 2, 3])
    np.testing.assert_allclose(part_scores(weights, batch).sum(axis=0), score(weights, batch), atol=1e-4)


def test_the_same_seed_gives_the_same_weights() -> None:
    log, meta = small_world()
    first, second = trained(log, meta, seed=3), trained(log, meta, seed=3)
    np.testing.assert_array_equal(first.coefficients, second.coefficients)
    np.testing.assert_array_equal(first.tables.similar.value, second.tables.similar.value)


@pytest.mark.parametrize(
    ("rows", "titles"),
    [
        ([], 3),
        ([("m", "t0", "rate", START_MS, 2.0)], 1),
        ([("m", "t0", "rate", START_MS, 2.0)], 5),
        ([("m", f"t{n}", "play", START_MS + n, 1.0) for n in range(20)], 20),
        ([("m", f"t{n}", "view", START_MS + n, 0.2) for n in range(20)], 20),
        ([(f"m{n}", "t0", "skip", START_MS, -0.5) for n in range(20)], 2),
    ],
    ids=["no events", "one title", "one event", "one member", "views only", "skips only"],
)
def test_little_data_still_gives_finite_scores(rows: list[tuple[str, str, str, int, float]], titles: int) -> None:
    log, meta = world_of(rows, titles)
    assert np.isfinite(score(trained(log, meta), state(titles, [0]))).all()


def test_the_state_before_an_event_does_not_hold_it() -> None:
    log, _ = world_of([("m", f"t{n}", "rate", START_MS, 2.0) for n in range(3)], 3)
    batch = next(live_states(log, np.array([1]), history_length=4, half_lives_d=(30,)))
    assert batch.history_title[0].tolist() == [0, 3, 3, 3]
    assert batch.titles[0, :, 0].tolist() == [1.0, 0.0, 0.0]


def test_popularity_halves_in_a_half_life() -> None:
    day_ms = 86_400_000
    log, _ = world_of([("m", "t0", "rate", START_MS, 2.0), ("n", "t1", "rate", START_MS + 30 * day_ms, 2.0)], 2)
    batch = next(live_states(log, np.array([1]), history_length=4, half_lives_d=(30,)))
    assert batch.titles[0, 0, 0] == pytest.approx(0.5)
