"""The effect at a planned look: interval, p-value and boundary say the same."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.experiments.analysis.comparison import Comparison, compare
from serving.experiments.analysis.group_sequential import boundaries
from serving.experiments.analysis.planned_look import planned_look
from serving.experiments.analysis.welch import welch
from streams.experiments.moments import Moments, scaled


def arm(rng: np.random.Generator, members: int, mean: float) -> Moments:
    numbers = rng.normal(mean, 1.0, members)
    return sum((Moments.of(scaled(number)) for number in numbers), Moments())


@given(st.floats(0.0, 0.6), st.integers(20, 400), st.integers(1, 5), st.integers(0, 99))
def test_the_interval_excludes_zero_exactly_when_the_p_value_is_below_alpha(
    effect: float, members: int, looks: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    fractions = [look / 5 for look in range(1, looks + 1)]
    found = planned_look(compare(arm(rng, members, 1.0), arm(rng, 50, 1.0 + effect)), fractions, 0.05, "pocock")
    assert found.p_value is not None
    assert found.found == (found.p_value < 0.05)


def test_the_only_look_at_the_end_is_welchs_test_with_the_cautious_error() -> None:
    rng = np.random.default_rng(3)
    arms = compare(arm(rng, 90, 1.0), arm(rng, 90, 1.3))
    assert isinstance(arms, Comparison)
    arms = replace(arms, standard_error=arms.cautious_standard_error)
    once, fixed = planned_look(arms, [1.0], 0.05, "obrien_fleming"), welch(arms, 0.05)
    assert once.p_value == pytest.approx(fixed.p_value, rel=1e-4)
    assert (once.low, once.high) == pytest.approx((fixed.low, fixed.high), rel=1e-9)


def test_a_look_too_early_to_find_anything_has_no_interval() -> None:
    rng = np.random.default_rng(3)
    found = planned_look(compare(arm(rng, 90, 1.0), arm(rng, 90, 9.0)), [0.01], 0.05, "obrien_fleming")
    assert (found.low, found.high) == (None, None)
    assert not found.found
    assert found.reason == "too few members for an interval"


def test_a_difference_beyond_any_doubt_has_a_p_value_and_nothing_is_found_in_no_members() -> None:
    rng = np.random.default_rng(3)
    sure = planned_look(compare(arm(rng, 900, 1.0), arm(rng, 900, 99.0)), [0.5], 0.05, "pocock")
    assert sure.found
    assert sure.p_value is not None
    assert sure.p_value <= 1e-10
    assert (
        planned_look(compare(Moments(), Moments()), [0.5], 0.05, "pocock").reason == "fewer than two members in an arm"
    )


def test_members_whose_numbers_grow_between_looks_are_found_no_more_often_than_alpha() -> None:
    """A/A tests of members who come evenly, at 5 looks like Pocock: their plays, and whether there was any."""
    rng = np.random.default_rng(5)
    tests, members, fractions = 3_000, 200, np.arange(1, 6) / 5
    come = np.sort(rng.random((tests, 2, members)).astype(np.float32))
    known = np.maximum(fractions[:, None, None, None].astype(np.float32) - come, 0.0)
    plays = rng.poisson(4.0 * np.diff(known, axis=0, prepend=0.0)).cumsum(axis=0)
    for numbers in (plays, plays > 0):
        z = np.array([_z_of(now, here > 0.0) for now, here in zip(numbers, known, strict=True)])
        sizes, found = np.abs(z).T, {}
        for joint in (True, False):
            bounds = [bound.z for bound in boundaries(fractions.tolist(), 0.05, "pocock", joint=joint)]
            found[joint] = (sizes >= bounds).any(axis=1).mean()
        assert found[False] <= 0.05
        assert found[True] > 0.05


def _z_of(numbers: np.ndarray, here: np.ndarray) -> np.ndarray:
    """Return each test's z statistic of members [tests, 2 arms, members] who are here by now."""
    n = here.sum(axis=2)
    mean = np.where(here, numbers, 0).sum(axis=2) / n
    square = np.where(here, np.square(numbers, dtype=np.float64), 0.0).sum(axis=2) / n
    error = ((square - mean**2) / (n - 1)).sum(axis=1) ** 0.5
    return (mean[:, 1] - mean[:, 0]) / error


def test_a_small_arm_that_saw_no_rare_member_is_judged_by_what_both_arms_saw() -> None:
    rare = [scaled(1.0)] * 40 + [scaled(0.0)] * 3_560
    large = sum((Moments.of(number) for number in rare), Moments())
    small = sum((Moments.of(scaled(0.0)) for _ in range(400)), Moments())
    arms = compare(large, small)
    assert isinstance(arms, Comparison)
    bound = boundaries([0.2, 0.4], 0.05, "pocock")[-1].z
    assert abs(arms.z) > bound, "Welch's error would find an effect here"
    assert not planned_look(arms, [0.2, 0.4], 0.05, "pocock").found
