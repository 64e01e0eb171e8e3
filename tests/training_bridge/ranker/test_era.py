"""The era signals: a title without a year stands among the dated ones, neither before nor behind them all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from tests.training_bridge.ranker.synthetic import SMALL, START_MS, small_world
from training_bridge.ranker.live_state import StateBatch, live_states
from training_bridge.ranker.onnx_export import to_onnx
from training_bridge.ranker.scoring import part_scores
from training_bridge.ranker.signals import PARTS, signal_parts
from training_bridge.ranker.titles_meta import UNKNOWN_YEAR
from training_bridge.ranker.training import train
from training_bridge.ranker.weights import RankerWeights

ERA = PARTS.index("era")
UNDATED = np.arange(30) % 7 == 3


def weights_and_states(years: np.ndarray, era: tuple[float, float, float]) -> tuple[RankerWeights, StateBatch]:
    """Return a ranker with the given coefficients of era, and the states of a cold (row 0) and of warm members."""
    log, meta = small_world()
    meta = replace(meta, year=years.astype(np.int32))
    weights = train(log, meta, now_ms=START_MS + 10**10, rng=np.random.default_rng(0), config=SMALL)
    coefficients = weights.coefficients.copy()
    coefficients[[part == "era" for part in signal_parts(SMALL)]] = era
    positions = np.array([0, 100, 470])
    states = live_states(
        log, positions, history_length=SMALL.history_length, half_lives_d=SMALL.popularity_half_lives_d
    )
    return replace(weights, coefficients=coefficients), next(states)


@pytest.mark.parametrize("era", [(1.0, -3.0, 0.5), (2.0, 1.0, -4.0), (-1.0, 0.0, 0.0), (0.0, -1.5, 0.0)])
@pytest.mark.parametrize(
    "dated_years", [np.arange(1991, 2021), np.full(30, 1950), np.where(np.arange(30) < 15, 1950, 2020)]
)
def test_a_title_without_a_year_gets_the_mean_era_of_the_dated_ones(
    era: tuple[float, float, float], dated_years: np.ndarray
) -> None:
    weights, states = weights_and_states(np.where(UNDATED, UNKNOWN_YEAR, dated_years), era)
    part = part_scores(weights, states)[ERA]
    for row in part:
        dated, undated = row[~UNDATED], row[UNDATED]
        assert dated.min() - 1e-4 <= undated.min() <= undated.max() <= dated.max() + 1e-4
        np.testing.assert_allclose(undated, dated.mean(), atol=1e-4)


def test_the_graph_agrees_on_titles_without_a_year() -> None:
    weights, states = weights_and_states(np.where(UNDATED, UNKNOWN_YEAR, np.arange(1991, 2021)), (1.0, -3.0, 0.5))
    session = onnxruntime.InferenceSession(to_onnx(weights).SerializeToString())
    expected = part_scores(weights, states)
    for row in range(len(states.member)):
        inputs = {
            "history_title": states.history_title[row],
            "history_age_s": states.history_age_s[row],
            "history_strength": states.history_strength[row],
            "member": states.member[row],
            "titles": states.titles[row],
        }
        (parts,) = session.run(["parts"], inputs)
        np.testing.assert_allclose(parts, expected[:, row], atol=1e-4)


def test_where_no_title_has_a_year_era_tells_them_not_apart() -> None:
    weights, states = weights_and_states(np.full(30, UNKNOWN_YEAR), (1.0, -3.0, 0.5))
    assert np.ptp(part_scores(weights, states)[ERA], axis=1).max() < 1e-5
