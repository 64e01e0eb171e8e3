"""Boundaries against published tables, crossing probabilities against simulation, and what is refused."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import norm

from serving.experiments.analysis.group_sequential import boundaries, counted, crossing, repeated_p
from serving.experiments.analysis.spending import Spending, spent
from streams.errors import FixRequest

FIFTHS = (0.2, 0.4, 0.6, 0.8, 1.0)


def z(fractions: tuple[float, ...], spending: Spending, alpha: float = 0.05) -> list[float]:
    return [bound.z for bound in boundaries(fractions, alpha, spending)]


def test_five_looks_have_the_boundaries_that_ldbounds_and_gsdesign_publish() -> None:
    # ldBounds(t, iuse=c(1, 1)), gsDesign sfLDOF and sfLDPocock at alpha 0.025 a side
    assert z(FIFTHS, "obrien_fleming") == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=2e-4)
    assert z(FIFTHS, "pocock") == pytest.approx([2.4380, 2.4268, 2.4101, 2.3966, 2.3859], abs=2e-4)


@pytest.mark.parametrize(
    ("looks", "constant", "shape"),
    [
        # Jennison and Turnbull, tables 2.1 (Pocock) and 2.3 (O'Brien and Fleming), alpha 0.05
        (2, 2.178, 0.0),
        (5, 2.413, 0.0),
        (10, 2.555, 0.0),
        (2, 1.977, 0.5),
        (5, 2.040, 0.5),
        (10, 2.087, 0.5),
    ],
)
def test_the_classical_constants_cross_with_probability_alpha(looks: int, constant: float, shape: float) -> None:
    fractions = [look / looks for look in range(1, looks + 1)]
    bounds = [constant * fraction**-shape for fraction in fractions]
    assert sum(map(sum, crossing(fractions, bounds, 0.0))) == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize("spending", ["obrien_fleming", "pocock"])
@pytest.mark.parametrize("fractions", [(1.0,), (0.03, 0.5, 0.502, 1.0), (0.25, 0.9, 1.3)])
def test_whatever_the_looks_alpha_is_spent_as_planned_and_no_more(
    fractions: tuple[float, ...], spending: Spending
) -> None:
    found = boundaries(fractions, 0.05, spending)
    used = np.cumsum([upper + lower for upper, lower in crossing(fractions, [bound.z for bound in found], 0.0)])
    assert used == pytest.approx([spent(spending, 0.05, fraction) for fraction in fractions], abs=1e-10)
    assert used[-1] == pytest.approx(0.05, abs=1e-10)


@pytest.mark.parametrize(("spending", "worst"), [("obrien_fleming", 0.056), ("pocock", 0.061)])
def test_numbers_that_grow_are_found_too_often_by_joint_boundaries_and_not_by_separate_ones(
    spending: Spending, worst: float
) -> None:
    """Members come evenly and each hour is chance anew: what is known grows as the square of the members."""
    squares = [fraction**2 for fraction in FIFTHS]
    assert sum(map(sum, crossing(squares, z(FIFTHS, spending), 0.0))) == pytest.approx(worst, abs=5e-4)
    apart = [min(bound.z, 12.0) for bound in boundaries(FIFTHS, 0.05, spending, joint=False)]
    assert sum(map(sum, crossing(squares, apart, 0.0))) < 0.041


@given(
    st.lists(st.floats(0.01, 1.0), min_size=1, max_size=12, unique=True).map(sorted),
    st.sampled_from(("obrien_fleming", "pocock")),
    st.booleans(),
)
def test_separate_boundaries_hold_alpha_however_looks_hang_together(
    fractions: list[float], spending: Spending, final: bool
) -> None:
    assume(all(after - before >= 0.001 for before, after in itertools.pairwise(fractions)))
    apart = boundaries(fractions, 0.05, spending, final=final, joint=False)
    assert sum(bound.nominal_p for bound in apart) <= 0.05 * (1 + 1e-9)
    if final or fractions[-1] == 1.0:
        assert sum(bound.nominal_p for bound in apart) == pytest.approx(0.05, rel=1e-6)
    assume(math.isfinite(apart[-1].z))
    p = repeated_p(fractions, apart[-1].z, spending, final=final, joint=False)
    assert p == pytest.approx(0.05, rel=1e-4)


def test_one_look_at_the_end_is_the_fixed_test() -> None:
    assert z((1.0,), "obrien_fleming") == pytest.approx([norm.isf(0.025)], rel=1e-12)
    assert repeated_p((1.0,), 2.5, "pocock") == pytest.approx(2 * norm.sf(2.5), rel=1e-5)


def test_crossings_agree_with_simulated_walks_with_and_without_an_effect() -> None:
    rng = np.random.default_rng(4)
    fractions = np.array([0.15, 0.4, 0.75, 1.0])
    bounds = np.array(z(tuple(fractions), "pocock"))
    noise = rng.normal(size=(40_000, 4)) * np.sqrt(np.diff(fractions, prepend=0.0))
    for drift in (0.0, 2.8):
        walks = (np.cumsum(noise, axis=1) + drift * fractions) / np.sqrt(fractions)
        first = np.where((np.abs(walks) >= bounds).any(axis=1), (np.abs(walks) >= bounds).argmax(axis=1), -1)
        seen = [(first == look).mean() for look in range(4)]
        expected = [upper + lower for upper, lower in crossing(fractions, bounds, drift)]
        assert seen == pytest.approx(expected, abs=4 * 0.5 / math.sqrt(40_000))


def test_a_look_at_the_end_of_a_plan_that_was_not_reached_spends_what_is_left() -> None:
    early, late = (
        boundaries((0.5, 0.8), 0.05, "obrien_fleming"),
        boundaries((0.5, 0.8), 0.05, "obrien_fleming", final=True),
    )
    assert early[0] == late[0]
    assert late[1].spent == 0.05
    assert late[1].z < early[1].z


def test_a_look_before_anything_may_be_spent_finds_nothing() -> None:
    assert boundaries((0.01, 1.0), 0.05, "obrien_fleming")[0].z == math.inf


def test_the_repeated_p_value_is_alpha_at_the_boundary_and_never_below_the_nominal_one() -> None:
    bound = boundaries(FIFTHS, 0.05, "obrien_fleming")[-1]
    assert repeated_p(FIFTHS, bound.z, "obrien_fleming") == pytest.approx(0.05, rel=1e-5)
    assert repeated_p(FIFTHS, -bound.z, "obrien_fleming") == pytest.approx(0.05, rel=1e-5)
    assert repeated_p(FIFTHS[:3], 0.0, "pocock") == 1.0
    assert repeated_p(FIFTHS[:3], 3.0, "pocock") > 2 * norm.sf(3.0)


def test_looks_between_the_planned_ones_and_after_the_last_do_not_count() -> None:
    assert counted([150, 200, 210, 450, 1_000, 1_500], planned=1_000, looks=5) == (1, 3, 4)
    assert counted([], planned=1_000, looks=5) == ()
    assert counted([199_999, 200_000, 399_999, 400_000], planned=1_000_000, looks=5) == (1, 3)


@given(st.lists(st.integers(0, 3_000), max_size=40).map(sorted), st.integers(1, 20))
def test_however_often_one_looks_what_counts_fits_the_plan(members: list[int], looks: int) -> None:
    places = counted(members, 1_000, looks)
    fractions = [members[place] / 1_000 for place in places]
    assert len(places) <= looks
    assert len(boundaries(fractions, 0.05, "pocock")) == len(places)


def test_looks_just_far_enough_apart_are_taken_whatever_rounding_makes_of_their_shares() -> None:
    assert 0.204 - 0.203 < 0.001
    assert len(boundaries((0.203, 0.204, 1.0), 0.05, "pocock")) == 3


@pytest.mark.parametrize(
    ("fractions", "alpha"),
    [
        ((0.5, 0.5), 0.05),
        ((0.5, 0.4), 0.05),
        ((1.0, 1.2), 0.05),
        ((0.0, 1.0), 0.05),
        ((math.nan,), 0.05),
        ((math.inf,), 0.05),
        (tuple(np.linspace(0.005, 1.0, 150)), 0.05),
        ((0.5, 1.0), 0.0),
        ((0.5, 1.0), 1.0),
    ],
)
def test_looks_that_do_not_follow_each_other_are_refused(fractions: tuple[float, ...], alpha: float) -> None:
    with pytest.raises(FixRequest):
        boundaries(fractions, alpha, "pocock")
