from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training_bridge.promotion import Evidence, PromotionPolicy, decide

SCORES = st.floats(0.0, 1.0)


def test_the_first_model_becomes_champion_even_if_nothing_could_be_measured() -> None:
    decision = decide(PromotionPolicy(), Evidence(None, 0, math.nan))
    assert (decision.promote, decision.reason) == (True, "the first model")


@given(SCORES, SCORES, st.floats(0.0, 1.0))
def test_a_later_model_is_promoted_unless_it_is_worse_by_more_than_the_tolerance(
    ours: float, theirs: float, tolerance: float
) -> None:
    decision = decide(PromotionPolicy(tolerance=tolerance), Evidence("a", 100, ours, theirs))
    assert decision.promote == (ours >= theirs * (1 - tolerance))
    assert f"{ours:.4f} against {theirs:.4f}" in decision.reason


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        (Evidence("a", 49, 0.9, 0.1), "49 held-out predictions; 50 are needed"),
        (Evidence("a", 400, 0.9, math.nan, "its files are gone"), "its files are gone"),
        (Evidence("a", 400, 0.9, math.nan), "it was not measured"),
    ],
)
def test_without_a_comparison_the_champion_stays(evidence: Evidence, said: str) -> None:
    decision = decide(PromotionPolicy(), evidence)
    assert not decision.promote
    assert said in decision.reason


def test_a_reason_given_by_hand_promotes_whatever_was_measured() -> None:
    decision = decide(PromotionPolicy(forced="we know better"), Evidence("a", 400, 0.01, 0.5))
    assert (decision.promote, decision.reason) == (True, "by hand: we know better")
