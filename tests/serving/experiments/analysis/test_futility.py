"""Conditional power against simulated ends of experiments."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from serving.experiments.analysis.comparison import Comparison, compare
from serving.experiments.analysis.futility import conditional_power
from streams.experiments.metric import Direction
from tests.serving.experiments.analysis.members import members


@pytest.mark.parametrize(("direction", "better"), [("increase", 1.0), ("decrease", -1.0)])
@pytest.mark.parametrize("seen", [-1.0, 0.0, 1.5])
def test_is_the_share_of_ends_that_find_the_declared_effect(direction: Direction, better: float, seen: float) -> None:
    """300 of 1,000 members each have come; the rest is drawn with the declared effect of 2 %."""
    rng = np.random.default_rng(1)
    control = 10 + scipy.stats.zscore(rng.normal(0, 1, 300), ddof=1)
    treatment = 10 + scipy.stats.zscore(rng.normal(0, 1, 300), ddof=1) + better * seen * np.sqrt(2 / 300)
    found = compare(members(control).moments, members(treatment).moments)
    power = conditional_power(found, 0.02, direction, 2_000, 1.96)
    rest = rng.normal(better * 0.02 * control.mean(), np.sqrt(2 / 700), 100_000)
    final = 0.3 * (treatment.mean() - control.mean()) + 0.7 * rest
    assert power == pytest.approx(float((better * final / np.sqrt(2 / 1_000) > 1.96).mean()), abs=0.01)


def test_at_the_end_it_is_known_and_without_data_it_is_not() -> None:
    rng = np.random.default_rng(2)
    found = compare(members(rng.normal(10, 1, 100)).moments, members(rng.normal(12, 1, 100)).moments)
    assert isinstance(found, Comparison)
    assert conditional_power(found, 0.01, "increase", 200, 1.96) == 1.0
    assert conditional_power(found, 0.01, "decrease", 150, 1.96) == 0.0
    nothing = members([]).moments
    assert conditional_power(compare(nothing, nothing), 0.01, "increase", 200, 1.96) is None
    zero = compare(members([0.0, 0.0]).moments, members([1.0, 2.0]).moments)
    assert conditional_power(zero, 0.01, "increase", 200, 1.96) is None


def test_of_a_cautious_test_the_chance_is_that_of_its_own_error() -> None:
    """A small arm that varies less: by Welch's error the effect is found, by the pooled one it is not."""
    rng = np.random.default_rng(4)
    control = members(10.0 + 4.0 * scipy.stats.zscore(rng.normal(0, 1, 10_000), ddof=1))
    treatment = members(10.2 + scipy.stats.zscore(rng.normal(0, 1, 500), ddof=1))
    found = compare(control.moments, treatment.moments)
    assert conditional_power(found, 0.02, "increase", 10_500, 2.5) == 1.0
    assert conditional_power(found, 0.02, "increase", 10_500, 2.5, cautious=True) == 0.0
    half = [conditional_power(found, 0.02, "increase", 21_000, 2.5, cautious=each) for each in (False, True)]
    assert half[0] is not None
    assert half[1] is not None
    assert half[0] > half[1]
