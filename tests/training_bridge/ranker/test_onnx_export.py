"""The exported graph: the reference's equal, within its limits."""

from __future__ import annotations

import numpy as np
import onnxruntime

from tests.training_bridge.ranker.synthetic import SMALL, START_MS, small_world
from training_bridge.ranker.config import RankerConfig
from training_bridge.ranker.live_state import live_states
from training_bridge.ranker.neighbours import neighbours
from training_bridge.ranker.onnx_export import to_onnx
from training_bridge.ranker.scoring import part_scores, score
from training_bridge.ranker.signals import PARTS
from training_bridge.ranker.training import train


def test_the_graph_agrees_with_the_reference() -> None:
    log, meta = small_world()
    weights = train(log, meta, now_ms=START_MS + 10**10, rng=np.random.default_rng(0), config=SMALL)
    session = onnxruntime.InferenceSession(to_onnx(weights).SerializeToString())
    positions = np.array([0, 5, 100, 470])
    states = next(
        live_states(log, positions, history_length=SMALL.history_length, half_lives_d=SMALL.popularity_half_lives_d)
    )
    expected_score, expected_parts = score(weights, states), part_scores(weights, states)
    for row in range(len(positions)):
        inputs = {
            "history_title": states.history_title[row],
            "history_age_s": states.history_age_s[row],
            "history_strength": states.history_strength[row],
            "member": states.member[row],
            "titles": states.titles[row],
        }
        found_score, found_parts = session.run(["score", "parts"], inputs)
        assert found_parts.shape == (len(PARTS), 30)
        np.testing.assert_allclose(found_score, expected_score[row], atol=1e-4)
        np.testing.assert_allclose(found_parts, expected_parts[:, row], atol=1e-4)
        np.testing.assert_allclose(found_parts.sum(axis=0), found_score, atol=1e-4)


def test_ten_thousand_titles_fit_the_size_limit() -> None:
    log, meta = small_world(titles=9_800, members=2)
    weights = train(log, meta, now_ms=START_MS + 10**10, rng=np.random.default_rng(0), config=RankerConfig(max_steps=1))
    assert to_onnx(weights).ByteSize() <= 40_000_000


def test_neighbours_are_others_the_nearest_first() -> None:
    log, meta = small_world()
    target, likeness = neighbours(log, meta, count=5)
    assert target.shape == likeness.shape == (30, 5)
    assert target.dtype == np.int32
    assert not (target == np.arange(30)[:, None]).any()
    assert (np.diff(likeness, axis=1) <= 0).all()


def test_a_single_title_has_no_neighbours() -> None:
    log, meta = small_world(titles=1, members=2)
    assert neighbours(log, meta)[0].shape == (1, 0)
