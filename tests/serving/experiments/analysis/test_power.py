"""Power and sample size against statsmodels, published inflation factors, and simulated walks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.power import NormalIndPower, normal_power_het

from serving.experiments.analysis.confidence_sequence import information, multiplier
from serving.experiments.analysis.group_sequential import crossing
from serving.experiments.analysis.power import (
    drift_of,
    fixed_power,
    group_sequential_power,
    inflation,
    members_needed,
    sequential_drift,
    sequential_power,
    standard_error,
)
from streams.errors import FixRequest

POWERS = st.floats(0.3, 0.99)
ALPHAS = st.floats(0.001, 0.2)


@given(st.floats(-0.3, 0.3), st.integers(50, 100_000), st.floats(0.05, 0.95), ALPHAS)
def test_power_is_that_of_statsmodels_for_any_allocation(effect: float, n: int, share: float, alpha: float) -> None:
    ours = fixed_power(effect / standard_error(1.0, n, share, 1.0 - share), alpha)
    theirs = NormalIndPower().power(effect, n * share, alpha, ratio=(1.0 - share) / share)
    assert ours == pytest.approx(theirs, rel=1e-9)


@given(st.floats(0.01, 0.4), st.floats(1.01, 1.5), ALPHAS)
def test_power_for_a_proportion_is_that_of_statsmodels(base: float, factor: float, alpha: float) -> None:
    difference, variance = base * (factor - 1.0), base * (1.0 - base)
    ours = fixed_power(difference / standard_error(variance, 10_000, 0.5, 0.5), alpha)
    # its std_null is that of a difference of two means of `nobs` each
    theirs = normal_power_het(difference, 5_000, alpha, std_null=math.sqrt(2.0 * variance))
    assert ours == pytest.approx(theirs, rel=1e-9)


@given(st.floats(0.01, 0.5), POWERS, st.floats(0.1, 0.9), st.floats(0.01, 100.0))
def test_sample_size_is_that_of_statsmodels(effect: float, power: float, share: float, variance: float) -> None:
    ours = members_needed(effect * math.sqrt(variance), variance, share, 1.0 - share, drift_of(0.05, power))
    # its solver stops early; so its power at our size is asked for, too
    theirs = NormalIndPower().power(effect, ours * share, 0.05, ratio=(1.0 - share) / share)
    assert theirs == pytest.approx(power, rel=1e-9)
    assert ours * share == pytest.approx(
        NormalIndPower().solve_power(effect, alpha=0.05, power=power, ratio=(1.0 - share) / share), rel=1e-4
    )


def test_no_difference_is_never_found() -> None:
    assert members_needed(0.0, 1.0, 0.5, 0.5, drift_of(0.05, 0.8)) == math.inf


@pytest.mark.parametrize(
    ("shape", "constant", "published"),
    # Jennison and Turnbull, tables 2.2 (Pocock) and 2.4 (O'Brien and Fleming): 5 looks, alpha 0.05, power 0.9
    [(0.0, 2.413, 1.207), (0.5, 2.040, 1.026)],
)
def test_published_inflation_factors_give_the_power_that_they_promise(
    shape: float, constant: float, published: float
) -> None:
    fractions = [look / 5 for look in range(1, 6)]
    bounds = [constant * fraction**-shape for fraction in fractions]
    drift = math.sqrt(published) * drift_of(0.05, 0.9)
    assert sum(map(sum, crossing(fractions, bounds, drift))) == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
def test_the_inflated_plan_has_the_power_that_it_was_inflated_for(spending: str) -> None:
    factor = inflation(5, spending, 0.05, 0.8)  # type: ignore[arg-type]  # one of the two names
    found = group_sequential_power(5, spending, 0.05, math.sqrt(factor) * drift_of(0.05, 0.8))  # type: ignore[arg-type]
    assert found.power == pytest.approx(0.8, abs=1e-7)
    assert factor * found.expected < 1.0, "on average it ends earlier than the fixed test"


def test_one_look_needs_no_inflation() -> None:
    assert inflation(1, "pocock", 0.05, 0.8) == pytest.approx(1.0, abs=1e-6)


def test_the_power_of_a_confidence_sequence_is_that_of_simulated_walks() -> None:
    rng = np.random.default_rng(8)
    members = np.linspace(1_000, 20_000, 20)
    fractions = members / members[-1]
    found = sequential_power(members.tolist(), 5_000, 0.05, 3.5)
    steps = rng.normal(size=(20_000, 20)) * np.sqrt(np.diff(fractions, prepend=0.0))
    walks = (np.cumsum(steps, axis=1) + 3.5 * fractions) / np.sqrt(fractions)
    bounds = np.asarray(multiplier(information(members, 5_000, 0.05), 0.05))
    crossed = np.logical_or.accumulate(np.abs(walks) >= bounds, axis=1)
    assert crossed.mean(axis=0) == pytest.approx(found.by_look, abs=0.015)
    stopped = np.where(crossed[:, -1], fractions[crossed.argmax(axis=1)], 1.0)
    assert stopped.mean() == pytest.approx(found.expected, abs=0.01)


def test_a_confidence_sequence_finds_an_effect_of_its_width_at_least_as_often_as_promised() -> None:
    drift = sequential_drift(20_000, 5_000, 0.05, 0.8)
    assert sequential_power([20_000], 5_000, 0.05, drift).power == pytest.approx(0.8, abs=1e-6)
    assert sequential_power(list(range(1_000, 20_001, 1_000)), 5_000, 0.05, drift).power > 0.8


@pytest.mark.parametrize(("alpha", "power"), [(0.0, 0.8), (1.0, 0.8), (0.05, 1.0), (0.05, 0.04), (math.nan, 0.8)])
def test_probabilities_that_are_none_are_refused(alpha: float, power: float) -> None:
    with pytest.raises(FixRequest):
        drift_of(alpha, power)
