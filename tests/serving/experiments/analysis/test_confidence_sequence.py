"""Confidence sequences: the mixture by numerical integration, interval and p-value agree, small arms are safe."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from serving.experiments.analysis.comparison import compare
from serving.experiments.analysis.confidence_sequence import (
    GROWTH,
    information,
    multiplier,
    one_sided_multiplier,
    one_sided_p_value,
    p_value,
    sequential,
)
from serving.experiments.analysis.welch import welch
from streams.experiments.moments import Moments
from tests.serving.experiments.analysis.members import random_arm

ONE = Moments.of(1_000_000)
ZERO = Moments.of(0)


@pytest.mark.parametrize("z", [0.3, 2.0, 4.0])
@pytest.mark.parametrize("tau", [0.2, 1.0, 50.0])
def test_p_values_are_one_over_the_mixture_of_likelihood_ratios(z: float, tau: float) -> None:
    """Of Brownian motion at time tau, at z sqrt(tau), with a standard normal drift."""

    def ratio(drift: float) -> float:
        return float(norm.pdf(drift) * math.exp(drift * z * math.sqrt(tau) - drift * drift * tau / 2))

    both = quad(ratio, -40, 40, points=[0], limit=200)[0]
    above = 2 * quad(ratio, 0, 40, limit=200)[0]
    least = min(_mixture(z / GROWTH, float(other)) for other in np.geomspace(1e-3, 1e3, 5_000))
    assert p_value(z, tau) == pytest.approx(min(1.0, max(1 / both, least)), rel=1e-4)
    one_sided = float(one_sided_p_value(z, tau))
    assert min(1.0, 1 / above) <= one_sided + 1e-12
    if z >= 2.0:
        assert one_sided <= max(1.3 / above, least), "conservative, but little"


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_multipliers_are_where_the_p_value_is_alpha(alpha: float) -> None:
    taus = np.array([0.01, 1.0, 8.0, 1e4])
    assert p_value(multiplier(taus, alpha), taus) == pytest.approx(alpha, rel=1e-9)
    assert one_sided_p_value(one_sided_multiplier(taus, alpha), taus) == pytest.approx(alpha, rel=1e-9)
    assert (one_sided_multiplier(taus, alpha) < multiplier(taus, alpha)).all()
    assert one_sided_p_value(-3.0, 1.0) == one_sided_p_value(0.0, 1.0) == 1.0
    assert 0.0 <= one_sided_p_value(1e6, 1.0) < 1e-200


def test_the_interval_is_narrowest_where_it_is_tuned_for() -> None:
    """The width at the tuned time, as a function of the tuning."""
    for alpha in (0.05, 0.01):
        found = minimize_scalar(lambda tau, a=alpha: _mixture_multiplier(tau, a), bounds=(1, 50), method="bounded")
        assert information(700, 700, alpha) == pytest.approx(found.x, rel=1e-4)
        assert multiplier(information(700, 700, alpha), alpha) == pytest.approx(GROWTH * found.fun, rel=1e-9)
        assert multiplier(1e4, alpha) == pytest.approx(_mixture_multiplier(1e4, alpha), rel=1e-9)


def test_interval_and_p_value_agree_and_are_wider_than_at_a_fixed_horizon() -> None:
    rng = np.random.default_rng(1)
    found = []
    for lift in np.linspace(0, 0.5, 40):
        pair = compare(random_arm(rng, 150).moments, random_arm(rng, 150, lift=lift).moments, cuped=True)
        effect, fixed = sequential(pair, 0.05, 300), welch(pair, 0.05)
        assert effect.p_value is not None
        assert fixed.p_value is not None
        assert effect.low is not None
        assert fixed.low is not None
        assert effect.found == (effect.p_value <= 0.05)
        assert effect.low < fixed.low
        assert effect.p_value > fixed.p_value
        assert effect.variance_reduction == fixed.variance_reduction
        found.append(effect.found)
    assert 5 < sum(found) < 35


def test_merged_halves_equal_the_whole() -> None:
    rng = np.random.default_rng(2)
    parts = [random_arm(rng, 50, ratio=True).moments for _ in range(4)]
    days = [(parts[0], parts[1]), (parts[2], parts[3])]
    whole = compare(days[0][0] + days[1][0], days[0][1] + days[1][1], cuped=True)
    turned = compare(days[1][0] + days[0][0], days[1][1] + days[0][1], cuped=True)
    assert sequential(whole, 0.05, 200) == sequential(turned, 0.05, 200)


def test_a_small_arm_that_has_not_met_its_rare_members_finds_nothing() -> None:
    """10 % against 90 %, a conversion of 1 %: no conversion among 100 is nothing special. Welch's variance takes it for
    certain that there are none."""
    control, treatment = _counts(890, 10), _counts(100, 0)
    found = compare(control, treatment)
    assert welch(found, 0.05).found
    assert not sequential(found, 0.05, 1_000).found


def test_same_arms_under_continuous_looking_find_nothing_more_often_than_alpha() -> None:
    """60 runs of 20 looks each; looking like that at Welch's test finds something in most of them."""
    rng = np.random.default_rng(3)
    wrong = {"sequential": 0, "welch": 0}
    for _ in range(60):
        arms, found = [Moments(), Moments()], {"sequential": False, "welch": False}
        for n in [(200, 1_800)] + [(50, 450)] * 19:
            arms = [arm + _counts(k, int(rng.binomial(k, 0.01))) for arm, k in zip(arms, n, strict=True)]
            both = compare(arms[1], arms[0])
            found["sequential"] |= sequential(both, 0.05, 2_000).found
            found["welch"] |= welch(both, 0.05).found
        for method, any_look in found.items():
            wrong[method] += any_look
    assert wrong["sequential"] <= 3
    assert wrong["welch"] >= 12


def test_numbers_that_grow_after_all_members_came_find_nothing_more_often_than_alpha() -> None:
    """The mixture's time stands still, and 28 days of looks go on: 10,000 members an arm, half a play a day each."""
    rng = np.random.default_rng(4)
    plays = [rng.poisson(10_000 * 0.5 / 24, (800, 28 * 24)).cumsum(axis=1) / 10_000 for _ in range(2)]
    z = (plays[1] - plays[0]) / np.sqrt((plays[0] + plays[1]) / 10_000)
    tau = information(20_000, 20_000, 0.05)
    wrong = (p_value(z, tau) <= 0.05).any(axis=1).mean()
    assert 0.0 < wrong <= 0.04
    assert (np.abs(z) >= _mixture_multiplier(tau, 0.05)).any(axis=1).mean() > 1.25 * wrong


def _mixture(z: float, tau: float) -> float:
    """Return one over the mixture, in closed form."""
    return math.sqrt(1 + tau) * math.exp(-z * z * tau / (2 * (1 + tau)))


def _mixture_multiplier(tau: float, alpha: float) -> float:
    return math.sqrt((1 + 1 / tau) * math.log((1 + tau) / alpha**2))


def _counts(n: int, ones: int) -> Moments:
    """Return the moments of n members, so many of them converted."""
    return _times(ONE, ones) + _times(ZERO, n - ones)


def _times(one: Moments, n: int) -> Moments:
    return Moments(n, tuple(n * each for each in one.sums), tuple(n * each for each in one.products))
