"""Relative effects: the delta method against numerical derivatives, Fieller's interval against a search; never nan."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.optimize import brentq

from serving.experiments.analysis.comparison import Comparison, compare
from serving.experiments.analysis.confidence_sequence import sequential
from serving.experiments.analysis.delta import relative_effect, relative_standard_error
from serving.experiments.analysis.welch import welch
from tests.serving.experiments.analysis.members import Members, members, random_arm

STEP = 1e-6


@pytest.mark.parametrize("ratio", [False, True])
def test_standard_errors_are_the_delta_methods_covariance_by_cuped_included(ratio: bool) -> None:
    rng = np.random.default_rng(1)
    arms = (random_arm(rng, 150, ratio=ratio), random_arm(rng, 260, lift=0.5, ratio=ratio))
    found = compare(arms[0].moments, arms[1].moments, cuped=True)
    assert isinstance(found, Comparison)

    def values(means: list[np.ndarray]) -> tuple[float, float]:
        """Adjusted values by the eight means, everybody's covariate being the arms' mean by members."""
        shares = np.array([150, 260]) / 410
        covariates = [mean[2] / mean[3] for mean in means]
        everybody = float(shares @ covariates)
        adjusted = [
            mean[0] / mean[1] - found.theta * (x - everybody) for mean, x in zip(means, covariates, strict=True)
        ]
        return adjusted[0], adjusted[1]

    assert relative_standard_error(found) == pytest.approx(
        _propagated(arms, lambda m: values(m)[1] / values(m)[0]), 1e-5
    )
    assert found.standard_error == pytest.approx(_propagated(arms, lambda m: values(m)[1] - values(m)[0]), 1e-5)
    assert math.sqrt(found.control_variance) == pytest.approx(_propagated(arms, lambda m: values(m)[0]), 1e-5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_interval_are_the_effects_that_a_test_of_each_does_not_reject(sign: float) -> None:
    rng = np.random.default_rng(2)
    arms = [members(sign * rng.gamma(2.0, 1.0, n)).moments for n in (60, 90)]
    found = compare(arms[0], arms[1])
    assert isinstance(found, Comparison)
    relative = relative_effect(found, 2.5)

    def z(effect: float) -> float:
        ratio = 1.0 + sign * effect
        error = math.sqrt(found.treatment_variance + ratio**2 * found.control_variance)
        return (found.treatment - ratio * found.control) / error

    assert relative.estimate is not None
    low, high = brentq(lambda r: z(r) - 2.5, -5, relative.estimate), brentq(lambda r: z(r) + 2.5, relative.estimate, 5)
    assert (relative.low, relative.high) == pytest.approx((low, high), rel=1e-9)


def test_relative_and_absolute_intervals_agree_on_whether_there_is_an_effect() -> None:
    rng = np.random.default_rng(3)
    found = 0
    for seed in range(60):
        arms = [random_arm(rng, 80).moments, random_arm(rng, 80, lift=seed / 200).moments]
        effect = welch(compare(arms[0], arms[1], cuped=True), 0.05)
        assert effect.p_value is not None
        assert effect.relative_low is not None
        assert effect.relative_high is not None
        excludes = effect.relative_low > 0 or effect.relative_high < 0
        assert effect.found == excludes == (effect.p_value < 0.05)
        found += effect.found
    assert 10 < found < 50


def test_a_control_around_zero_has_no_relative_effect_but_an_absolute_one() -> None:
    zero = members([0.0, 0.0, 0.0]).moments
    effect = welch(compare(zero, members([1.0, 2.0, 3.0]).moments), 0.05)
    assert effect.difference == 2.0
    assert (effect.relative, effect.relative_low, effect.relative_reason) == (None, None, "the control's value is zero")
    effect = welch(compare(members([-1.0, 1.5, 0.0]).moments, members([1.0, 2.0, 3.0]).moments), 0.05)
    assert effect.low is not None
    assert effect.relative is not None
    assert (effect.relative_low, effect.relative_high) == (None, None)
    assert effect.relative_reason == "the control's value may still be zero"


def _propagated(arms: tuple[Members, Members], statistic: Callable[[list[np.ndarray]], float]) -> float:
    """Return a statistic's standard error by numerical derivatives and the covariance of each arm's means."""
    means = [(arm.millionths / 1e6).mean(0) for arm in arms]
    variance = 0.0
    for side, arm in enumerate(arms):
        gradient = np.zeros(4)
        for of in range(4):
            moved = [[mean.copy() for mean in means] for _ in range(2)]
            moved[0][side][of] += STEP
            moved[1][side][of] -= STEP
            gradient[of] = (statistic(moved[0]) - statistic(moved[1])) / (2 * STEP)
        numbers = arm.millionths / 1e6
        variance += float(gradient @ np.cov(numbers.T) @ gradient) / len(numbers)
    return math.sqrt(variance)


def test_a_more_cautious_error_is_that_of_the_relative_effect_too() -> None:
    rng = np.random.default_rng(8)
    found = compare(random_arm(rng, 4_000).moments, random_arm(rng, 100, lift=-0.5).moments)
    assert isinstance(found, Comparison)
    plain, cautious = welch(found, 0.05), sequential(found, 0.05, 10_000)
    assert None not in (plain.relative_standard_error, cautious.relative_standard_error)
    widened = (cautious.standard_error or 0.0) / (plain.standard_error or 1.0)
    assert widened != 1.0
    assert cautious.relative_standard_error == pytest.approx(widened * (plain.relative_standard_error or 0.0))
