"""Sample ratios: against SciPy's distributions, valid at any look, found when members go astray."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from serving.experiments.analysis.srm import CONCENTRATION, log_bayes_factor, sample_ratio

WEIGHTS = {"control": 0.5, "one": 0.3, "two": 0.2}


@pytest.mark.parametrize("counts", [(0, 0, 0), (1, 0, 0), (480, 310, 210), (50_400, 29_900, 19_700), (10, 20, 30)])
def test_the_bayes_factor_and_chi_square_are_scipys(counts: tuple[int, ...]) -> None:
    weights, n = list(WEIGHTS.values()), sum(counts)
    prior = CONCENTRATION * np.array(weights)
    theirs = scipy.stats.dirichlet_multinomial.logpmf(counts, prior, n) - scipy.stats.multinomial.logpmf(
        counts, n, weights
    )
    seen = dict(zip(WEIGHTS, counts, strict=True))
    assert log_bayes_factor(seen, WEIGHTS) == pytest.approx(float(theirs), rel=1e-9, abs=1e-7)
    found = sample_ratio(seen, WEIGHTS, 0.001)
    if n:
        theirs = scipy.stats.chisquare(counts, [n * weight for weight in weights])
        assert (found.chi_square, found.chi_square_p_value) == pytest.approx(
            (theirs.statistic, theirs.pvalue), rel=1e-9
        )
    assert found.p_value == pytest.approx(min(1.0, float(np.exp(-log_bayes_factor(seen, WEIGHTS)))), rel=1e-6)


def test_looking_all_the_time_at_fair_arms_finds_a_mismatch_no_more_often_than_alpha() -> None:
    rng = np.random.default_rng(1)
    wrong = chi_square_wrong = 0
    for _ in range(200):
        counts = np.cumsum(rng.multinomial(100, [0.5, 0.5], 60), axis=0)
        looks = [sample_ratio({"a": int(a), "b": int(b)}, {"a": 1.0, "b": 1.0}, 0.05) for a, b in counts]
        wrong += any(look.mismatch for look in looks)
        chi_square_wrong += any(look.chi_square_p_value <= 0.05 for look in looks)
    assert wrong <= 0.05 * 200
    assert chi_square_wrong >= 0.15 * 200


def test_a_loss_of_two_percent_of_an_arm_is_found_and_stays_found() -> None:
    rng = np.random.default_rng(2)
    previous, counts = 1.0, np.zeros(2, dtype=int)
    for _ in range(200):
        counts += rng.multinomial(2_000, [0.5, 0.49, 0.01])[:2]
        found = sample_ratio({"a": int(counts[0]), "b": int(counts[1])}, {"a": 0.5, "b": 0.5}, 0.001, previous)
        previous = found.p_value
    assert found.mismatch
    balanced = sample_ratio({"a": 10, "b": 10}, {"a": 0.5, "b": 0.5}, 0.001, previous)
    assert balanced.mismatch


def test_arms_of_weight_zero_do_not_count_but_members_in_them_are_a_finding() -> None:
    weights = {"a": 0.5, "b": 0.5, "off": 0.0}
    clean = sample_ratio({"a": 500, "b": 490, "off": 0}, weights, 0.001)
    assert clean.p_value == sample_ratio({"a": 500, "b": 490}, {"a": 0.5, "b": 0.5}, 0.001).p_value
    assert "off" not in clean.expected
    assert not clean.mismatch
    stray = sample_ratio({"a": 500, "b": 490, "off": 1, "unknown": 2}, weights, 0.001)
    assert stray.mismatch
    assert stray.strays == ("off", "unknown")
    assert stray.p_value == clean.p_value


def test_one_arm_alone_and_nobody_at_all_match() -> None:
    alone = sample_ratio({"a": 1_000}, {"a": 1.0, "b": 0.0}, 0.001)
    assert (alone.p_value, alone.chi_square_p_value, alone.mismatch) == (pytest.approx(1.0), 1.0, False)
    assert not sample_ratio({}, {"a": 0.5, "b": 0.5}, 0.001).mismatch
    assert sample_ratio({"a": 10**9}, {"a": 0.5, "b": 0.5}, 0.001).mismatch
