"""Verdicts follow the rules, and say so."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.experiments.decision import Decision, days_run, decide, decided
from serving.experiments.lifecycle import Decide
from serving.experiments.report import GuardrailState, MetricResult, Outcome, PlannedLook, Report
from streams.errors import FixRequest
from streams.experiments.definition import Definition, Plan
from tests.serving.experiments.reports import (
    DAY_MS,
    START_MS,
    definition_of,
    effect_result,
    guardrail_result,
    report_of,
)

BETTER, WORSE, UNSURE = (effect_result("b", outcome) for outcome in ("better", "worse", "unsure"))
SAFE, DOUBT, HARMED = (guardrail_result("b", state) for state in ("safe", "unsure", "harmed"))


def verdict(report: Report, days: float = 10.0, definition: Definition | None = None) -> Decision:
    return decide(report, definition or definition_of(), START_MS + round(days * DAY_MS))


def test_a_better_primary_metric_with_safe_guardrails_ships_and_says_why() -> None:
    decision = verdict(report_of((BETTER,), (SAFE,)))
    assert (decision.verdict, decision.variant) == ("ship", "b")
    assert decision.reasons == (BETTER.sentence, SAFE.sentence)


def test_a_guardrail_in_doubt_holds_a_better_treatment_back_until_the_time_is_over() -> None:
    report = report_of((BETTER,), (DOUBT,))
    assert verdict(report).verdict == "continue"
    assert DOUBT.sentence in verdict(report).reasons
    assert verdict(report, days=28).verdict == "inconclusive"


def test_sure_harm_to_a_guardrail_is_no_however_good_the_primary_metric_and_however_early() -> None:
    report = report_of((BETTER,), (HARMED,))
    assert verdict(report).verdict == verdict(report, days=0.1).verdict == "do_not_ship"
    assert verdict(report).reasons == (HARMED.sentence,)


def test_a_worse_primary_metric_is_no() -> None:
    assert verdict(report_of((WORSE,), (SAFE,))).verdict == "do_not_ship"


def test_nothing_is_shipped_before_the_planned_days_and_members() -> None:
    early = verdict(report_of((BETTER,), (SAFE,)), days=6.9)
    assert (early.verdict, early.variant) == ("continue", None)
    assert "6.9 days" in early.reasons[0]
    assert "7 days" in early.reasons[0]
    small = verdict(report_of((BETTER,), (SAFE,), members=999))
    assert small.verdict == "continue"
    assert "999 members" in small.reasons[0]


def test_arms_that_are_not_comparable_decide_nothing() -> None:
    decision = verdict(report_of((BETTER,), (SAFE,), srm=True))
    assert decision.verdict == "inconclusive"
    assert decision.reasons[0] == "Shares."


def test_an_effect_that_can_hardly_be_found_any_more_is_given_up() -> None:
    assert verdict(report_of((UNSURE,), (SAFE,), futile=("b",))).verdict == "do_not_ship"
    assert verdict(report_of((BETTER,), (SAFE,), futile=("b",))).verdict == "ship"


def test_without_a_result_it_goes_on_until_its_time_is_over_or_it_was_stopped() -> None:
    report = report_of((UNSURE,), (SAFE,))
    assert verdict(report).verdict == "continue"
    late = verdict(report, days=28.0)
    assert late.verdict == "inconclusive"
    assert "28 days" in late.reasons[0]
    stopped = report_of((UNSURE,), (SAFE,), stopped_at_ms=START_MS + 9 * DAY_MS)
    assert verdict(stopped, days=100).verdict == "inconclusive"


def test_a_stopped_experiment_is_as_old_as_when_it_was_stopped() -> None:
    stopped = report_of((BETTER,), (SAFE,), stopped_at_ms=START_MS + 2 * DAY_MS)
    assert verdict(stopped, days=20).verdict == "inconclusive"
    assert verdict(report_of((BETTER,), (SAFE,), stopped_at_ms=START_MS + 8 * DAY_MS), days=20).verdict == "ship"


def test_planned_methods_wait_for_their_first_look_and_end_with_the_last() -> None:
    definition = definition_of(plan=Plan("group_sequential", planned_members=100_000, looks=4))
    before = verdict(report_of(), definition=definition)
    assert before.verdict == "continue"
    assert "25,000 members" in before.reasons[0]
    last = PlannedLook(START_MS, 100_000, 1.0, last=True)
    assert verdict(report_of((UNSURE,), planned=(last,)), definition=definition).verdict == "inconclusive"


def test_of_several_treatments_the_best_that_may_be_shipped_is() -> None:
    effects = (effect_result("b", "better", 0.2), effect_result("c", "better", 0.1), effect_result("d", "better", 0.3))
    guardrails = (guardrail_result("b", "safe"), guardrail_result("c", "safe"), guardrail_result("d", "harmed"))
    decision = verdict(report_of(effects, guardrails), definition=definition_of("b", "c", "d"))
    assert (decision.verdict, decision.variant) == ("ship", "b")
    assert decision.reasons[-1].startswith("c is better than the control, too; b ")


def test_an_experiment_is_given_up_only_with_all_its_treatments() -> None:
    definition = definition_of("b", "c")
    unsure = report_of((effect_result("b", "worse"), effect_result("c", "unsure")))
    assert verdict(unsure, definition=definition).verdict == "continue"
    bad = report_of((effect_result("b", "worse"), effect_result("c", "unsure")), futile=("c",))
    assert verdict(bad, definition=definition).verdict == "do_not_ship"


def test_of_a_metric_where_less_is_better_the_largest_drop_is_best() -> None:
    definition = definition_of("b", "c", primary="skips", guardrails=())
    effects = (effect_result("b", "better", -0.1, "skips"), effect_result("c", "better", -0.3, "skips"))
    metric = MetricResult("skips", "primary", "count", "decrease", (), effects)
    assert verdict(report_of(primary="skips", metrics=(metric,)), definition=definition).variant == "c"


def test_a_person_decides_as_the_rules_say_or_says_why_not() -> None:
    rules = Decision("ship", ("b is better.",), "b")
    assert decided(rules, None, "") == decided(rules, "ship", "") == Decide("ship", ("b is better.",), best="b")
    assert decided(rules, "ship", "we agree") == Decide("ship", ("b is better.", "we agree"), best="b")
    otherwise = decided(rules, "do_not_ship", "too slow")
    assert (otherwise.verdict, otherwise.overridden, otherwise.best) == ("do_not_ship", "too slow", "b")
    with pytest.raises(FixRequest, match="the rules say ship: b is better"):
        decided(rules, "inconclusive", " ")


OUTCOMES = st.sampled_from(get_args(Outcome))
STATES = st.sampled_from(get_args(GuardrailState))


@st.composite
def reports(draw: st.DrawFn) -> Report:
    effects = tuple(effect_result(key, draw(OUTCOMES), draw(st.floats(-1, 1))) for key in ("b", "c"))
    guardrails = tuple(guardrail_result(key, draw(STATES)) for key in ("b", "c"))
    futile = tuple(key for key in ("b", "c") if draw(st.booleans()))
    stopped = draw(st.none() | st.integers(START_MS, START_MS + 40 * DAY_MS))
    return report_of(
        effects, guardrails, futile, draw(st.booleans()), members=draw(st.integers(0, 20_000)), stopped_at_ms=stopped
    )


@given(reports(), st.floats(0, 40))
def test_whatever_the_numbers_the_rules_that_protect_members_hold(report: Report, days: float) -> None:
    definition = definition_of("b", "c")
    decision = verdict(report, days, definition)
    assert decision == verdict(report, days, definition)
    assert decision.reasons
    assert all(reason.endswith(".") for reason in decision.reasons)
    assert (decision.variant is not None) == (decision.verdict == "ship")
    if decision.verdict == "ship":
        states = {each.variant: each.harm for each in report.guardrails}
        outcomes = {each.variant: each.outcome for each in report.metrics[0].effects}
        assert not report.srm.found
        assert states[decision.variant or ""] == "safe"
        assert outcomes[decision.variant or ""] == "better"
        assert report.members >= definition.plan.min_members
        assert days_run(report, START_MS + round(days * DAY_MS)) >= definition.plan.min_days
    if report.srm.found:
        assert decision.verdict == "inconclusive"
    if report.stopped_at_ms is not None or days >= definition.plan.max_days:
        assert decision.verdict != "continue"
