"""What an experiment takes, by method; and numbers that nothing can be reckoned from."""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pytest
from statsmodels.stats.power import NormalIndPower

from serving.experiments.design import Baseline, baseline_of, design
from streams.errors import FixRequest
from streams.experiments.definition import Definition, Plan, Rule, Variant
from streams.experiments.metric import Measure, Metric
from streams.experiments.moments import Moments, scaled

BASELINE = Baseline(mean=2.0, variance=7.5, members_a_day=4_000)
METHODS = ("fixed", "group_sequential", "sequential")


def definition(
    method: Any = "fixed", weights: tuple[float, ...] = (0.5, 0.5), mde: float = 0.03, **of: Any
) -> Definition:
    plan = {"min_days": 0.0, "cuped": False} | of.pop("plan", {})
    return Definition(
        id="rows",
        hypothesis="More rows, more plays",
        owner="me",
        variants=tuple(Variant(str(place), weight) for place, weight in enumerate(weights)),
        metrics=(Metric("plays", "count", Measure(("play",))),),
        primary="plays",
        mde=mde,
        plan=Plan(method=method, **plan),
        **of,
    )


def test_the_fixed_method_takes_what_statsmodels_says() -> None:
    found = design(definition(weights=(0.8, 0.2)), BASELINE)
    control = NormalIndPower().solve_power(0.03 * 2.0 / 7.5**0.5, alpha=0.05, power=0.8, ratio=0.25)
    assert found.members == pytest.approx(control / 0.8, rel=1e-4)
    assert found.days == pytest.approx(control / 0.8 / 4_000, rel=1e-4)
    assert found.expected_members == found.members


@pytest.mark.parametrize(("window_s", "inflation"), [(86_400, 1.025), (None, 1.164)])
def test_planned_looks_at_numbers_that_go_on_growing_take_more_members(window_s: int | None, inflation: float) -> None:
    metrics = (Metric("plays", "count", Measure(("play",)), window_s=window_s),)
    found = design(
        msgspec.structs.replace(definition("group_sequential", plan={"min_days": 7.0}), metrics=metrics), BASELINE
    )
    assert found.inflation == pytest.approx(inflation, abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_the_curve_reaches_the_declared_power_where_the_design_says(method: str) -> None:
    found = design(definition(method), BASELINE)
    assert found.days is not None
    power = np.interp(found.days, [point.days for point in found.curve], [point.power for point in found.curve])
    assert power == pytest.approx(0.8, abs=0.02)
    assert all(one.power <= other.power + 1e-9 for one, other in zip(found.curve, found.curve[1:], strict=False))
    smallest = [point.mde for point in found.curve]
    assert smallest == sorted(smallest, reverse=True)
    assert found.curve[-1].days > found.days
    assert "3 %" in found.sentence


def test_looking_more_often_costs_members_at_most_and_saves_some_on_average() -> None:
    fixed, few, always = (design(definition(method), BASELINE) for method in METHODS)
    assert fixed.members < few.members < always.members  # type: ignore[operator]  # all are found
    assert few.expected_members < fixed.members  # type: ignore[operator]
    assert always.expected_members < always.members  # type: ignore[operator]


def test_a_plan_that_says_how_many_it_expects_is_tuned_for_them() -> None:
    blind = design(definition("sequential"), BASELINE)
    tuned = design(definition("sequential", plan={"planned_members": blind.members}), BASELINE)
    assert tuned.members < blind.members  # type: ignore[operator]


def test_cuped_saves_the_share_that_its_correlation_squares_to() -> None:
    plain = design(definition(), BASELINE)
    known = Baseline(2.0, 7.5, 4_000, correlation=0.6)
    assert design(definition(plan={"cuped": True}), known).members == pytest.approx(0.64 * plain.members, rel=1e-4)
    assert design(definition(), known).members == plain.members


def test_fewer_members_a_day_take_part_in_a_part_of_the_traffic_outside_the_holdout() -> None:
    whole, part = design(definition(), BASELINE), design(definition(traffic=0.5, holdout=0.1), BASELINE)
    assert part.days == pytest.approx(whole.days / 0.45)  # type: ignore[operator]
    assert part.members == whole.members


def test_of_several_treatments_each_has_its_part_of_alpha_and_the_smallest_decides() -> None:
    found = design(definition(weights=(0.5, 0.3, 0.2)), BASELINE)
    assert found.alpha == 0.025
    control = NormalIndPower().solve_power(0.03 * 2.0 / 7.5**0.5, alpha=0.025, power=0.8, ratio=0.4)
    assert found.members == pytest.approx(control / 0.5, rel=1e-4)


def test_an_arm_of_no_weight_takes_neither_members_nor_alpha() -> None:
    assert design(definition(weights=(0.5, 0.0, 0.5)), BASELINE) == design(definition(), BASELINE)


def test_whom_targeting_leaves_out_is_not_known_and_said_to_be_so() -> None:
    targeted = design(definition(targeting=(Rule("country", "in", ("US",)),)), BASELINE)
    assert "targeting" in targeted.sentence
    assert "targeting" not in design(definition(), BASELINE).sentence


@pytest.mark.parametrize("method", METHODS)
def test_an_effect_too_small_for_a_year_is_said_to_be_so(method: str) -> None:
    found = design(definition(method, mde=0.0001), BASELINE)
    assert (found.members, found.days, found.expected_days) == (None, None, None)
    assert "not found within 365 days" in found.sentence
    assert found.curve[-1].power < 0.8


def test_no_decision_comes_before_the_least_days() -> None:
    assert design(definition(mde=1.0, plan={"min_days": 7.0}), BASELINE).days == 7.0


def test_the_baseline_of_members_is_their_mean_variance_and_correlation() -> None:
    rng = np.random.default_rng(1)
    before = rng.normal(3.0, 1.0, 500)
    during = before + rng.normal(0.0, 1.0, 500)
    members = [Moments.of(scaled(y), x=scaled(x)) for y, x in zip(during, before, strict=True)]
    found = baseline_of(sum(members, Moments()), 100.0)
    assert found.mean == pytest.approx(during.mean(), rel=1e-6)
    assert found.variance == pytest.approx(during.var(ddof=1), rel=1e-6)
    assert found.correlation == pytest.approx(np.corrcoef(during, before)[0, 1], rel=1e-6)
    few = baseline_of(members[0] + members[1], 100.0)
    assert abs(few.correlation) == 0.95
    assert design(definition(plan={"cuped": True}), few).curve
    with pytest.raises(FixRequest, match="metric"):
        baseline_of(Moments(), 100.0)


@dataclass(frozen=True)
class Wrong:
    field: str
    definition: Definition
    baseline: Baseline


@pytest.mark.parametrize(
    "wrong",
    [
        Wrong("variants", definition(weights=(1.0,)), BASELINE),
        Wrong("variants", definition(weights=(1.0, 0.0)), BASELINE),
        Wrong("variants", definition(weights=(0.0, 0.5, 0.5)), BASELINE),
        Wrong("mde", definition(mde=0.0), BASELINE),
        Wrong("mde", definition(mde=float("nan")), BASELINE),
        Wrong("traffic", definition(traffic=0.0), BASELINE),
        Wrong("plan.alpha", definition(plan={"alpha": 0.0}), BASELINE),
        Wrong("plan.power", definition(plan={"power": 1.0}), BASELINE),
        Wrong("baseline.mean", definition(), Baseline(float("nan"), 1.0, 10.0)),
        Wrong("baseline.mean", definition(), Baseline(0.0, 1.0, 10.0)),
        Wrong("baseline.variance", definition(), Baseline(1.0, 0.0, 10.0)),
        Wrong("baseline.members_a_day", definition(), Baseline(1.0, 1.0, 0.0)),
        Wrong("baseline.correlation", definition(), Baseline(1.0, 1.0, 10.0, 1.0)),
    ],
    ids=lambda wrong: wrong.field,
)
def test_numbers_that_nothing_can_be_reckoned_from_are_refused_by_field(wrong: Wrong) -> None:
    with pytest.raises(FixRequest) as refused:
        design(wrong.definition, wrong.baseline)
    assert refused.value.field == wrong.field
