"""Sentences about effects: units by kind of metric, what is valid at any look, and what cannot be said."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from serving.experiments.analysis.effect import Effect
from serving.experiments.explanation import effect_sentence
from serving.experiments.report import EffectResult, Outcome
from streams.experiments.metric import Measure, Metric, MetricKind

EFFECT = Effect(
    "sequential",
    0.05,
    1_000,
    1_100,
    control=0.1,
    treatment=0.112,
    difference=0.012,
    standard_error=0.003,
    low=0.002,
    high=0.022,
    p_value=0.012,
    relative=0.12,
    relative_low=0.02,
    relative_high=0.23,
)


def _sentence(effect: Effect, kind: MetricKind, outcome: Outcome = "better") -> str:
    metric = Metric("starts", kind, Measure(("play",)))
    return effect_sentence(EffectResult("starts", "b", outcome, effect, 0), metric, "a")


def test_shares_of_members_differ_by_percentage_points() -> None:
    assert _sentence(EFFECT, "conversion") == (
        "starts with b: +12 %, +1.20 percentage points (95 % interval +2 % to +23 %, valid at any look), better than a "
        "(1,100 members against 1,000; p = 0.012)."
    )


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("count", "+0.0120 a member (95 % interval +0.00200 to +0.0220, valid at any look)"),
        ("retention", "+1.20 percentage points (95 % interval +0.200 to +2.20, valid at any look)"),
        ("ratio", "+0.0120 (95 % interval"),
    ],
)
def test_without_a_relative_effect_the_difference_has_its_unit(kind: MetricKind, said: str) -> None:
    assert said in _sentence(replace(EFFECT, relative_low=None, relative_high=None), kind)


def test_only_a_confidence_sequence_is_valid_at_any_look() -> None:
    assert "any look" not in _sentence(replace(EFFECT, method="fixed"), "count")


def test_an_interval_without_zero_is_not_said_to_hold_it_where_other_tests_take_the_finding_away() -> None:
    sentence = _sentence(EFFECT, "count", "unsure")
    assert "better than a if it were the only one tested, not sure among all that are" in sentence
    less = replace(EFFECT, difference=-0.012, low=-0.022, high=-0.002, relative=-0.12)
    assert "worse than a if it were the only one" in _sentence(less, "count", "unsure")


def test_no_effect_and_no_data_are_said_as_such() -> None:
    open_still = replace(EFFECT, low=-0.01, relative_low=-0.1)
    assert "leaves open whether it is better or worse than a" in _sentence(open_still, "count", "unsure")
    nothing = Effect("sequential", 0.05, 1, 0, reason="fewer than two members in an arm")
    assert _sentence(nothing, "count", "no_data") == (
        "What b does to starts cannot be said yet: fewer than two members in an arm."
    )
