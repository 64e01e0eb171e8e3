"""Metrics against values by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training_bridge.evaluation.bootstrap import mean_interval, ratio_interval
from training_bridge.evaluation.metrics import hit_rate, mean_per_member, ndcg, ranks

RANKS = np.array([0.0, 1.0, 2.0, 9.0, 10.0])


def test_ndcg_discounts_by_rank_and_ends_at_k() -> None:
    expected = [1.0, 1 / np.log2(3), 0.5, 1 / np.log2(11), 0.0]
    np.testing.assert_allclose(ndcg(RANKS, 10), expected)


def test_hit_rate_counts_ranks_below_k() -> None:
    assert hit_rate(RANKS, 10).tolist() == [1, 1, 1, 1, 0]


def test_rank_counts_only_candidates_and_half_of_ties() -> None:
    scores = np.array([[3.0, 2.0, 2.0, 9.0], [1.0, 1.0, 1.0, 1.0]], np.float32)
    allowed = np.array([[True, True, True, False], [True, True, True, True]])
    assert ranks(scores, np.array([1, 0]), allowed).tolist() == [1.5, 1.5]


def test_a_score_of_nan_ranks_last() -> None:
    scores = np.array([[np.nan, 0.0, 1.0]], np.float32)
    assert ranks(scores, np.array([0]), np.ones((1, 3), bool)).tolist() == [2.0]


def test_members_weigh_alike_however_many_predictions_they_have() -> None:
    assert mean_per_member(np.array([1.0, 0.0, 0.5]), np.array([4, 4, 9], np.int32)).tolist() == [0.5, 0.5]


def test_no_predictions_give_no_members() -> None:
    assert len(mean_per_member(np.zeros(0), np.zeros(0, np.int32))) == 0


def test_interval_holds_the_mean_and_narrows_to_it_without_variation() -> None:
    found = mean_interval(np.array([0.2, 0.2, 0.2]), np.random.default_rng(0))
    assert (found.low, found.value, found.high) == pytest.approx((0.2, 0.2, 0.2))


def test_paired_ratio_of_proportional_methods_is_certain() -> None:
    theirs = np.array([0.1, 0.4, 0.9])
    found = ratio_interval(2 * theirs, theirs, np.random.default_rng(0))
    assert (found.low, found.high) == pytest.approx((2.0, 2.0))


def test_interval_without_members_is_nan() -> None:
    assert np.isnan(mean_interval(np.zeros(0), np.random.default_rng(0)).value)
