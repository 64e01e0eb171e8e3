"""Welch's test, ratios and CUPED agree with SciPy, statsmodels and tea-tasting wherever the method is the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import tea_tasting as tt
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from serving.experiments.analysis.comparison import Comparison, Undefined, compare, compare_strata
from serving.experiments.analysis.effect import Effect
from serving.experiments.analysis.welch import welch
from streams.experiments.moments import SCALE, Moments
from tests.serving.experiments.analysis.members import Members, members, random_arm

NEAR = 1e-9
SIZES = ((2, 2), (3, 40), (25, 25), (400, 900))


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e5])
def test_agrees_with_scipy_and_statsmodels(sizes: tuple[int, int], scale: float) -> None:
    rng = np.random.default_rng(sum(sizes))
    control, treatment = (members(rng.gamma(2.0, scale, n)) for n in sizes)
    ours = welch(compare(control.moments, treatment.moments), 0.1)
    a, b = control.column(0), treatment.column(0)
    theirs = scipy.stats.ttest_ind(b, a, equal_var=False)
    interval = theirs.confidence_interval(0.9)
    assert _numbers(ours)[:3] == pytest.approx([b.mean() - a.mean(), interval.low, interval.high], rel=NEAR)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=NEAR)
    means = CompareMeans(DescrStatsW(b), DescrStatsW(a))
    assert [ours.low, ours.high] == pytest.approx(means.tconfint_diff(0.1, usevar="unequal"), rel=NEAR)
    assert _comparison(control, treatment).df == pytest.approx(means.dof_satt(), rel=NEAR)


@pytest.mark.parametrize("cuped", [False, True])
@pytest.mark.parametrize("ratio", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_tea_tasting(cuped: bool, ratio: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    control = random_arm(rng, int(rng.integers(20, 600)), ratio=ratio)
    treatment = random_arm(rng, int(rng.integers(20, 600)), lift=0.1, ratio=ratio)
    names = ("y", "d" if ratio else None, "x" if cuped else None, "w" if ratio and cuped else None)
    theirs: Any = tt.RatioOfMeans(*names).analyze(_table(control, treatment), 0, 1, "arm")
    ours = welch(_comparison(control, treatment, cuped), 0.05)
    assert [ours.control, ours.treatment] == pytest.approx([theirs.control, theirs.treatment], rel=NEAR)
    expected = [theirs.effect_size, theirs.effect_size_ci_lower, theirs.effect_size_ci_upper, theirs.pvalue]
    assert _numbers(ours) == pytest.approx(expected, rel=NEAR)
    assert ours.relative == pytest.approx(theirs.rel_effect_size, rel=NEAR)
    if not cuped:
        assert _on_log_scale(ours, control, treatment) == pytest.approx(
            [theirs.rel_effect_size_ci_lower, theirs.rel_effect_size_ci_upper], rel=NEAR
        )


def test_a_plain_mean_agrees_with_tea_tasting_and_cuped_takes_variance_away() -> None:
    rng = np.random.default_rng(5)
    control, treatment = random_arm(rng, 500), random_arm(rng, 300, lift=0.05)
    theirs: Any = tt.Mean("y", "x").analyze(_table(control, treatment), 0, 1, "arm")
    ours = welch(_comparison(control, treatment, cuped=True), 0.05)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=NEAR)
    correlation = np.corrcoef(np.vstack([control.millionths, treatment.millionths])[:, [0, 2]].T)[0, 1]
    assert ours.variance_reduction == pytest.approx(correlation**2, abs=0.03)


def test_merged_halves_equal_the_whole() -> None:
    arm = random_arm(np.random.default_rng(6), 200, ratio=True)
    halves = [Members(arm.millionths[:90]).moments, Members(arm.millionths[90:]).moments]
    other = random_arm(np.random.default_rng(7), 200, ratio=True).moments
    assert compare(other, halves[0] + halves[1], cuped=True) == compare(other, arm.moments, cuped=True)
    assert compare(other, arm.moments - halves[1], cuped=True) == compare(other, halves[0], cuped=True)


def test_one_stratum_is_no_stratification_and_more_remove_what_differs_between_them() -> None:
    rng = np.random.default_rng(8)
    strata = [
        (random_arm(rng, 300), random_arm(rng, 200)),
        (random_arm(rng, 50, lift=4.0), random_arm(rng, 80, lift=4.0)),
    ]
    pairs = [(one.moments, other.moments) for one, other in strata]
    assert compare_strata(pairs[:1], cuped=True) == compare(*pairs[0], cuped=True)
    ours = compare_strata(pairs)
    shares = [500 / 630, 130 / 630]
    columns = [[arm.column(0) for arm in pair] for pair in strata]
    difference = sum(share * (b.mean() - a.mean()) for share, (a, b) in zip(shares, columns, strict=True))
    variance = sum(
        share**2 * (a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b))
        for share, (a, b) in zip(shares, columns, strict=True)
    )
    assert isinstance(ours, Comparison)
    assert [ours.difference, ours.standard_error] == pytest.approx([difference, math.sqrt(variance)], rel=NEAR)
    merged = compare(pairs[0][0] + pairs[1][0], pairs[0][1] + pairs[1][1])
    assert isinstance(merged, Comparison)
    assert ours.standard_error < merged.standard_error
    assert abs(ours.difference) < abs(merged.difference), "the treatment's arm has more of the second stratum"


def test_a_stratum_that_an_arm_has_no_two_members_of_is_left_out() -> None:
    rng = np.random.default_rng(9)
    pair = (random_arm(rng, 30).moments, random_arm(rng, 30).moments)
    lonely = (random_arm(rng, 1).moments, random_arm(rng, 30).moments)
    assert compare_strata([pair, lonely]) == compare(*pair)
    found = compare_strata([lonely])
    assert found == Undefined(1, 30, "fewer than two members in an arm")


@pytest.mark.parametrize(
    ("control", "treatment", "reason"),
    [
        ([], [], "fewer than two members in an arm"),
        ([1.0], [1.0, 2.0], "fewer than two members in an arm"),
        ([3.0, 3.0, 3.0], [3.0, 3.0], "within each arm all members have the same value"),
    ],
)
def test_what_cannot_be_said_is_none_with_a_reason(control: list[float], treatment: list[float], reason: str) -> None:
    found = compare(members(control).moments, members(treatment).moments, cuped=True)
    effect = welch(found, 0.05)
    assert effect == Effect("fixed", 0.05, len(control), len(treatment), reason=reason)
    assert not effect.found


def test_a_ratio_without_denominators_is_undefined() -> None:
    nothing = members([1.0, 2.0], [0.0, 0.0]).moments
    assert compare(nothing, nothing) == Undefined(2, 2, "nothing to divide by yet")


def test_a_covariate_that_is_the_same_for_all_changes_nothing() -> None:
    rng = np.random.default_rng(10)
    arms = [members(rng.gamma(2.0, 1.0, 50), x=np.full(50, 0.1)).moments for _ in range(2)]
    assert compare(arms[0], arms[1], cuped=True) == compare(arms[0], arms[1])
    proportional = rng.poisson(3.0, 50) + 1
    arms = [members(rng.gamma(2.0, 1.0, 50), x=proportional / 10, w=proportional).moments for _ in range(2)]
    assert compare(arms[0], arms[1], cuped=True) == compare(arms[0], arms[1])


def test_sums_of_any_size_lose_nothing() -> None:
    """Where sums of floats would: a tiny spread around a huge mean."""
    far = 10**12
    arms = [Moments(), Moments()]
    for place in range(20):
        arms[place % 2] += Moments.of(far * SCALE + place)
    found = compare(arms[0], arms[1])
    assert isinstance(found, Comparison)
    spread = np.var(np.arange(0, 20, 2), ddof=1)
    assert found.standard_error == pytest.approx(math.sqrt(2 * spread / 10) / SCALE, rel=NEAR)


def _comparison(control: Members, treatment: Members, cuped: bool = False) -> Comparison:
    found = compare(control.moments, treatment.moments, cuped=cuped)
    assert isinstance(found, Comparison)
    return found


def _numbers(effect: Effect) -> list[float | None]:
    return [effect.difference, effect.low, effect.high, effect.p_value]


def _table(control: Members, treatment: Members) -> Any:
    import pyarrow as pa  # the table that tea-tasting reads

    rows = np.vstack([control.millionths, treatment.millionths]) / SCALE
    arms = np.repeat([0, 1], [len(control.millionths), len(treatment.millionths)])
    return pa.table({"arm": arms, **{name: rows[:, place] for place, name in enumerate("ydxw")}})


def _on_log_scale(effect: Effect, control: Members, treatment: Members) -> list[float]:
    """Return the interval as tea-tasting forms it, from our delta-method standard error."""
    assert effect.relative is not None
    assert effect.relative_standard_error is not None
    ratio = 1.0 + effect.relative
    found = _comparison(control, treatment)
    parts = [found.control_variance / found.control**2, found.treatment_variance / found.treatment**2]
    df = sum(parts) ** 2 / (parts[0] ** 2 / (found.n_control - 1) + parts[1] ** 2 / (found.n_treatment - 1))
    half = scipy.stats.t.ppf(0.975, df) * effect.relative_standard_error / ratio
    return [ratio * math.exp(-half) - 1.0, ratio * math.exp(half) - 1.0]


def test_a_past_that_only_one_arm_has_explains_nothing() -> None:
    """Of 2,000 members two had anything to divide by before, both in one arm: the other arm has no ratio before."""
    rng = np.random.default_rng(7)
    per = rng.poisson(3.0, 2_000) + 1
    numbers = rng.binomial(per, 0.5)
    past, past_per = np.zeros(2_000), np.zeros(2_000)
    past[:2], past_per[:2] = (30.0, 31.0), (60.0, 60.0)
    arms = [
        members(numbers[part], per[part], past[part], past_per[part]).moments
        for part in (slice(0, 1_000), slice(1_000, None))
    ]
    assert compare(*arms, cuped=True) == compare(*arms)
