"""Reports of simulated members: what the numbers say, and what earlier looks leave behind."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from serving.experiments.analysis.group_sequential import boundaries
from serving.experiments.analysis.multiple import adjusted
from serving.experiments.decision import decide
from serving.experiments.looks import Look, look_of
from serving.experiments.report import EffectResult, Report
from serving.experiments.results import report_of
from streams.experiments.aggregates import Aggregate, Cell, Sums
from streams.experiments.definition import Definition, Experiment, Guardrail, Plan, RampStep, Variant
from streams.experiments.histogram import bucket_of
from streams.experiments.metric import Measure, Metric
from streams.experiments.moments import SCALE
from tests.serving.experiments.aggregated import arm, moments_of, poisson, two_arms
from tests.serving.experiments.reports import DAY_MS, START_MS, definition_of

NOW_MS = START_MS + 10 * DAY_MS
CUPED_OFF = Plan(cuped=False)


def running(definition: Definition | None = None, **changes: Any) -> Experiment:
    return replace(Experiment(definition or definition_of(), "running", 2, "salt", started_at_ms=START_MS), **changes)


def report(
    aggregates: list[Aggregate], definition: Definition | None = None, last: Look | None = None, at_ms: int = NOW_MS
) -> Report:
    return report_of(running(definition), aggregates, last, at_ms, takes_look=True)


def _nobody_skips(members: int) -> list[Aggregate]:
    rng = np.random.default_rng(1)
    numbers = {"plays": moments_of(poisson(rng, 2.0, members)), "skips": moments_of(np.zeros(members, np.int64))}
    return [arm("a", numbers)]


def look(seen: Report) -> Look:
    return look_of(seen, "continue", "")


def effect_of(seen: Report, metric: str = "plays", variant: str = "b") -> EffectResult:
    found = seen.effect(metric, variant)
    assert found is not None
    return found


def verdict(seen: Report, definition: Definition | None = None) -> str:
    return decide(seen, definition or definition_of(), seen.at_ms).verdict


def test_a_better_treatment_is_found_with_numbers_and_a_sentence_and_may_be_shipped() -> None:
    seen = report(two_arms(1, 20_000, plays=2.2, skips=0.8))
    effect = effect_of(seen)
    assert effect.outcome == "better"
    assert effect.effect.relative == pytest.approx(0.1, abs=0.02)
    assert effect.effect.relative_low is not None
    assert 0 < effect.effect.relative_low < 0.1
    assert "plays with b: +" in effect.sentence
    assert "better than a" in effect.sentence
    assert "20,000 members against 20,000" in effect.sentence
    assert [guardrail.harm for guardrail in seen.guardrails] == ["safe"]
    assert not seen.srm.found
    assert (seen.members, verdict(seen)) == (40_000, "ship")


def test_labels_of_arms_mean_nothing_to_the_numbers() -> None:
    aggregates = two_arms(2, 5_000, plays=2.15)
    swapped = [Aggregate(cell._replace(variant={"a": "b", "b": "a"}[cell.variant]), sums) for cell, sums in aggregates]
    definition = definition_of(guardrails=())
    one, other = effect_of(report(aggregates, definition)).effect, effect_of(report(swapped, definition)).effect
    assert one.difference == pytest.approx(-(other.difference or 0))
    assert (one.low, one.p_value) == (pytest.approx(-(other.high or 0)), pytest.approx(other.p_value))
    assert verdict(report(aggregates, definition), definition) == "ship"
    assert verdict(report(swapped, definition), definition) == "do_not_ship"


def test_without_data_everything_says_so_and_nothing_is_decided() -> None:
    for aggregates in ([], [arm("a", {"plays": moments_of(np.array([1]))})]):
        seen = report(aggregates)
        assert effect_of(seen).outcome == "no_data"
        assert "cannot be said yet" in effect_of(seen).sentence
        assert [guardrail.harm for guardrail in seen.guardrails] == ["unsure"]
        assert verdict(seen) == "continue"
        assert msgspec.json.decode(msgspec.json.encode(seen), type=Report) == seen
    assert "Nobody has been exposed yet" in report([]).warnings[0]
    draft = Experiment(definition_of())
    assert report_of(draft, [], None, NOW_MS).warnings == ()


def test_harm_to_a_guardrail_outlives_the_look_that_found_it() -> None:
    harmed = report(two_arms(3, 20_000, plays=2.2, skips=1.2))
    assert harmed.guardrails[0].harm == "harmed"
    assert "20.0 % worse" in harmed.guardrails[0].sentence or "worse than a" in harmed.guardrails[0].sentence
    later = report(two_arms(3, 20_000, plays=2.2, skips=0.8), last=look(harmed))
    assert later.guardrails[0].harm == "harmed"
    assert verdict(later) == "do_not_ship"


def test_harm_where_the_control_has_none_is_said_as_what_was_seen() -> None:
    """The control's mean is 0, so that nothing is relative to it."""
    definition = definition_of(guardrails=(Guardrail("skips"),))
    seen = report(two_arms(22, 5_000, skips=0.5)[1:] + _nobody_skips(5_000), definition)
    assert seen.guardrails[0].harm == "harmed"
    sentence = seen.guardrails[0].sentence
    assert "nothing is known" not in sentence
    assert "against 0 with a; harm is sure" in sentence
    assert verdict(seen, definition) == "do_not_ship"


def test_harm_that_was_sure_is_not_said_to_be_what_the_numbers_show_now() -> None:
    harmed = report(two_arms(3, 20_000, skips=1.2))
    assert "harm is sure" in harmed.guardrails[0].sentence
    later = report(two_arms(3, 20_000, skips=0.8), last=look(harmed))
    assert "% better than a" in later.guardrails[0].sentence
    assert "was sure at an earlier look" in later.guardrails[0].sentence


def test_few_members_are_sure_of_no_harm() -> None:
    assert report(two_arms(4, 300, skips=3.0)).guardrails[0].harm == "unsure"
    definition = definition_of(plan=Plan(min_members=500))
    assert report(two_arms(4, 300, skips=3.0), definition).guardrails[0].harm == "harmed"


def test_a_guardrail_without_a_margin_holds_unless_harm_is_found() -> None:
    definition = definition_of(guardrails=(Guardrail("skips"),))
    assert report(two_arms(5, 20_000), definition).guardrails[0].harm == "safe"
    assert report(two_arms(5, 20_000, skips=1.2), definition).guardrails[0].harm == "harmed"
    strict = definition_of(guardrails=(Guardrail("skips", 0.001),))
    assert report(two_arms(5, 20_000), strict).guardrails[0].harm == "unsure"


def test_arms_that_lose_members_are_found_and_stay_found() -> None:
    rng = np.random.default_rng(6)
    lossy = [
        arm("a", {"plays": moments_of(poisson(rng, 2.0, 20_000))}),
        arm("b", {"plays": moments_of(poisson(rng, 2.4, 18_900))}),
    ]
    seen = report(lossy)
    assert seen.srm.found
    assert "a 20,000, b 18,900" in seen.srm.sentence
    assert verdict(seen) == "inconclusive"
    mended = report(two_arms(6, 100_000, plays=2.2), last=look(seen))
    assert mended.srm.found
    assert "did not come in the declared shares at an earlier look" in mended.srm.sentence
    assert "a 100,000, b 100,000" in mended.srm.sentence
    assert verdict(mended) == "inconclusive"


def test_members_in_an_arm_that_nobody_declared_are_a_mismatch() -> None:
    rng = np.random.default_rng(7)
    stray = [*two_arms(7, 5_000), arm("z", {"plays": moments_of(poisson(rng, 2.0, 3))})]
    seen = report(stray)
    assert seen.srm.found
    assert "members in z, where none should be" in seen.srm.sentence


def test_an_arm_of_no_weight_does_not_count() -> None:
    definition = definition_of(variants=(Variant("a", 0.5), Variant("b", 0.5), Variant("c", 0.0)))
    assert not report(two_arms(8, 5_000), definition).srm.found


def test_an_arm_of_no_weight_neither_keeps_others_waiting_nor_widens_their_intervals() -> None:
    arms = (Variant("a", 0.5), Variant("b", 0.5), Variant("c", 0.0))
    definition = definition_of(variants=arms, guardrails=())
    worse = report(two_arms(8, 5_000, plays=1.5), definition)
    assert verdict(worse, definition) == "do_not_ship"
    assert effect_of(worse).effect.alpha == definition.plan.alpha


def test_before_the_first_planned_look_there_are_values_but_no_effects() -> None:
    definition = definition_of(plan=Plan("group_sequential", planned_members=40_000, looks=4), guardrails=())
    seen = report(two_arms(9, 4_999, plays=2.2), definition)
    assert seen.planned == ()
    assert seen.metrics[0].effects == ()
    assert seen.metrics[0].arms[1].estimate == pytest.approx(2.2, abs=0.1)
    assert verdict(seen, definition) == "continue"


def test_between_planned_looks_effects_are_those_of_the_last_one() -> None:
    definition = definition_of(plan=Plan("group_sequential", planned_members=40_000, looks=4), guardrails=())
    first = report(two_arms(10, 5_000), definition)
    assert [each.fraction for each in first.planned] == [0.25]
    between = report(two_arms(10, 7_000, plays=3.0), definition, look(first), NOW_MS + 1)
    assert between.planned == first.planned
    assert effect_of(between) == effect_of(first)
    second = report(two_arms(10, 10_000, plays=3.0), definition, look(between), NOW_MS + 2)
    assert [each.fraction for each in second.planned] == [0.25, 0.5]
    assert (effect_of(second).outcome, effect_of(second).as_of_ms) == ("better", NOW_MS + 2)
    assert verdict(second, definition) == "ship"


@pytest.mark.parametrize(
    ("window_s", "ramped_s", "joint"),
    [(None, 0, False), (86_400, 0, True), (86_401, 0, False), (86_400, 1, False), (43_200, 302_400, True)],
)
def test_planned_looks_take_numbers_as_complete_only_where_a_window_ends_them_soon(
    window_s: int | None, ramped_s: int, joint: bool
) -> None:
    """A window of a seventh of min_days, or none; less by what a ramp takes, since most members may come after it."""
    metrics = tuple(replace(metric, window_s=window_s) for metric in definition_of().metrics)
    plan = Plan("group_sequential", planned_members=20_000, looks=2, futility=0.1, cuped=False)
    ramp = (RampStep(0, 0.1), RampStep(ramped_s, 1.0)) if ramped_s else ()
    definition = definition_of(metrics=metrics, plan=plan, guardrails=(), ramp=ramp)
    first = report(two_arms(10, 5_000, plays=2.04), definition)
    second = report(two_arms(10, 10_000, plays=2.04), definition, look(first), NOW_MS + 1)
    found = effect_of(second).effect
    bound = boundaries([0.5, 1.0], 0.05, "obrien_fleming", joint=joint)[-1]
    assert found.difference is not None
    assert found.high is not None
    assert found.standard_error is not None
    assert (found.high - found.difference) / found.standard_error == pytest.approx(bound.z, rel=1e-3)


def test_a_fixed_plan_has_one_look_and_what_comes_later_changes_nothing() -> None:
    definition = definition_of(plan=Plan("fixed", planned_members=10_000), guardrails=())
    one = report(two_arms(11, 5_000), definition)
    assert one.planned[0].last
    assert verdict(one, definition) == "inconclusive"
    later = report(two_arms(11, 50_000, plays=3.0), definition, look(one), NOW_MS + DAY_MS)
    assert effect_of(later) == effect_of(one)
    assert verdict(later, definition) == "inconclusive"


def test_planned_looks_wait_for_the_days_and_are_taken_when_the_time_is_over() -> None:
    definition = definition_of(plan=Plan("fixed", planned_members=10_000), guardrails=())
    assert report(two_arms(12, 20_000), definition, at_ms=START_MS + 6 * DAY_MS).planned == ()
    late = report(two_arms(12, 2_000, plays=2.5), definition, at_ms=START_MS + 28 * DAY_MS)
    assert (late.planned[0].fraction, late.planned[0].last) == (0.4, True)
    assert verdict(late, definition) == "ship"


def test_a_reader_takes_no_planned_look() -> None:
    definition = definition_of(plan=Plan("fixed", planned_members=10_000), guardrails=())
    assert report_of(running(definition), two_arms(13, 9_000), None, NOW_MS).planned == ()


def test_several_treatments_and_secondary_metrics_are_corrected_for() -> None:
    rng = np.random.default_rng(14)
    extra = tuple(Metric(f"m{number}", "count", Measure(("click",))) for number in range(3))
    definition = definition_of(
        "b", "c", metrics=(*definition_of().metrics, *extra), secondary=("m0", "m1", "m2"), guardrails=()
    )
    names = [metric.name for metric in definition.metrics]
    aggregates = [
        arm(variant, {name: moments_of(poisson(rng, 2.0, 4_000)) for name in names}) for variant in ("a", "b", "c")
    ]
    seen = report(aggregates, definition)
    assert effect_of(seen, "plays", "c").effect.alpha == pytest.approx(0.025)
    assert effect_of(seen, "m0", "c").effect.alpha == pytest.approx(0.05)
    for metric in ("plays", "m0", "m1", "m2"):
        for variant in ("b", "c"):
            effect = effect_of(seen, metric, variant)
            assert effect.p_adjusted is not None
            assert effect.p_adjusted >= (effect.effect.p_value or 0.0)


def test_a_secondary_metric_is_corrected_for_though_it_is_a_guardrail_too() -> None:
    definition = definition_of(
        metrics=(*definition_of().metrics, Metric("saves", "count", Measure(("like",)))), secondary=("skips", "saves")
    )
    aggregates = two_arms(23, 4_000, skips=0.93)
    rng = np.random.default_rng(23)
    aggregates += [
        Aggregate(Cell(variant, 2, "fresh", ""), Sums(moments={"saves": moments_of(poisson(rng, 1.0, 4_000))}))
        for variant in ("a", "b")
    ]
    seen = report(aggregates, definition)
    p_values = [effect_of(seen, name).effect.p_value for name in definition.secondary]
    assert [effect_of(seen, name).p_adjusted for name in definition.secondary] == list(adjusted(p_values, "holm"))


def test_what_members_did_before_takes_variance_away_only_where_the_plan_says_so() -> None:
    rng = np.random.default_rng(15)
    aggregates = []
    for variant in ("a", "b"):
        habit = rng.gamma(2.0, 2.0, 5_000)
        before, during = rng.poisson(habit).astype(np.int64), rng.poisson(habit).astype(np.int64)
        aggregates.append(arm(variant, {"plays": moments_of(during, before)}))
    adjusted, plain = (effect_of(report(aggregates, definition_of(plan=plan))) for plan in (Plan(), CUPED_OFF))
    assert adjusted.effect.variance_reduction > 0.3
    assert "off the variance" in adjusted.sentence
    assert plain.effect.variance_reduction == 0.0


def test_members_on_degraded_pages_count_are_left_out_or_compared_apart() -> None:
    rng = np.random.default_rng(16)
    aggregates = [
        arm(variant, {"plays": moments_of(poisson(rng, mean, members))}, stratum=stratum)
        for variant, stratum, mean, members in (
            ("a", "fresh", 2.0, 9_000),
            ("a", "degraded", 1.0, 1_000),
            ("b", "fresh", 2.0, 7_000),
            ("b", "degraded", 1.0, 3_000),
        )
    ]
    estimates = {}
    for degraded in ("include", "exclude", "stratify"):
        seen = report(aggregates, definition_of(plan=Plan(degraded=degraded), guardrails=()))
        estimates[degraded] = effect_of(seen)
        assert any("30 % of the members of b" in warning for warning in seen.warnings)
        assert (seen.members, seen.srm.found) == ((16_000, True) if degraded == "exclude" else (20_000, False))
        assert [arm.degraded for arm in seen.exposures] == [1_000, 3_000]
    assert estimates["include"].outcome == "worse"
    assert estimates["exclude"].outcome == estimates["stratify"].outcome == "unsure"


def test_an_arm_all_of_whose_members_got_degraded_pages_is_told_of() -> None:
    aggregates = two_arms(24, 2_000)
    failing = [aggregates[0], aggregates[1]._replace(cell=aggregates[1].cell._replace(stratum="degraded"))]
    assert any("100 % of the members of b" in warning for warning in report(failing).warnings)
    assert report(aggregates).warnings == ()


def test_percentiles_are_compared_by_their_histograms() -> None:
    rng = np.random.default_rng(21)
    metric = Metric("wait", "percentile", Measure(("play",), "value"), quantile=0.9, direction="decrease")
    definition = definition_of(metrics=(*definition_of().metrics, metric), secondary=("wait",))
    aggregates = two_arms(21, 5_000)
    for variant, scale in (("a", 10.0), ("b", 8.0)):
        buckets = Counter(bucket_of(round(number * SCALE)) for number in rng.exponential(scale, 5_000))
        aggregates.append(Aggregate(Cell(variant, 2, "fresh", ""), Sums(histograms={"wait": dict(buckets)})))
    seen = report(aggregates, definition)
    effect = effect_of(seen, "wait")
    assert effect.outcome == "better"
    assert effect.effect.relative == pytest.approx(-0.2, abs=0.05)
    assert [arm.n for arm in seen.metrics[2].arms] == [5_000, 5_000]
    assert seen.metrics[2].arms[0].estimate == pytest.approx(10 * math.log(10), rel=0.05)
    assert report(two_arms(21, 50), definition).metrics[2].arms[0].estimate is None


def test_segments_are_shown_as_exploratory_and_corrected() -> None:
    rng = np.random.default_rng(17)
    aggregates = two_arms(17, 4_000)
    for segment in ("country=US", "device=tv"):
        for variant in ("a", "b"):
            aggregates.append(arm(variant, {"plays": moments_of(poisson(rng, 2.0, 2_000))}, segment=segment))
    seen = report(aggregates)
    assert [segment.segment for segment in seen.segments] == ["country=US", "device=tv"]
    assert all(segment.exploratory for segment in seen.segments)
    assert "members with country US" in seen.segments[0].effects[0].sentence
    assert seen.members == 8_000


def test_members_who_saw_two_arms_are_told_of() -> None:
    aggregates = two_arms(18, 4_000)
    few = [*aggregates, arm("a", {"plays": moments_of(np.zeros(0, np.int64))}, crossed=40)]
    many = [*aggregates, arm("a", {"plays": moments_of(np.zeros(0, np.int64))}, crossed=400)]
    assert report(few).warnings == ()
    assert "400 members saw more than one variant" in report(many).warnings[0]
    assert sum(each.crossed for each in report(many).exposures) == 400


def test_an_experiment_that_can_hardly_find_its_effect_is_called_futile() -> None:
    plan = Plan(planned_members=20_000, futility=0.2)
    definition = definition_of(mde=0.05, plan=plan, guardrails=())
    seen = report(two_arms(19, 9_000, plays=1.98), definition)
    assert [each.futile for each in seen.futility] == [True]
    assert verdict(seen, definition) == "do_not_ship"
    early = report(two_arms(19, 1_000), definition_of(mde=0.2, plan=plan, guardrails=()))
    assert [each.futile for each in early.futility] == [False]


@pytest.mark.parametrize("method", ["fixed", "group_sequential"])
def test_after_the_last_planned_look_the_chance_is_what_that_look_said(method: Any) -> None:
    """Members who come later are in no look any more, however good they make it look."""
    plan = Plan(method, planned_members=20_000, looks=2, futility=0.2)
    definition = definition_of(plan=plan, guardrails=())
    one = report(two_arms(25, 10_000), definition)
    assert one.planned[-1].last
    assert verdict(one, definition) == "do_not_ship"
    later = report(two_arms(25, 11_000, plays=2.3), definition, look(one), NOW_MS + DAY_MS)
    assert [each.conditional_power for each in later.futility] == [0.0]
    assert verdict(later, definition) == "do_not_ship"
    found = report(two_arms(25, 10_000, plays=2.3), definition)
    assert (found.futility, verdict(found, definition)) == ((), "ship")
    cut_short = report(two_arms(25, 5_000), definition, at_ms=START_MS + 28 * DAY_MS)
    assert (cut_short.futility, verdict(cut_short, definition)) == ((), "inconclusive")


def test_a_plan_without_a_least_number_of_members_still_has_intervals() -> None:
    definition = definition_of(plan=Plan(min_members=0))
    assert effect_of(report(two_arms(20, 50), definition)).effect.low is not None


@settings(max_examples=25)
@given(
    st.integers(0, 99), st.integers(600, 4_000), st.sampled_from(("sequential", "group_sequential", "fixed")), st.data()
)
def test_looks_one_after_the_other_never_undo_a_mismatch_harm_or_a_planned_look(
    seed: int, members: int, method: Any, data: st.DataObject
) -> None:
    definition = definition_of(plan=Plan(method, planned_members=12_000, looks=3, min_members=500))
    last: Look | None = None
    for number in range(1, 5):
        plays, skips = (data.draw(st.floats(1.0, 4.0)) for _ in range(2))
        seen = report(two_arms(seed, number * members, plays, skips), definition, last, NOW_MS + number)
        if last is not None:
            assert seen.srm.p_value <= last.srm_p_value
            assert seen.planned[: len(last.planned)] == last.planned
            assert {each.variant for each in last.guardrails if each.harm == "harmed"} <= {
                each.variant for each in seen.guardrails if each.harm == "harmed"
            }
        assert seen == report(two_arms(seed, number * members, plays, skips), definition, last, NOW_MS + number)
        last = look(seen)
