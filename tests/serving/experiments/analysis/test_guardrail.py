"""Guardrails: harm and safety are told apart, in both directions, and the bounds say the same as the p-values."""

from __future__ import annotations

import numpy as np
import pytest

from serving.experiments.analysis.comparison import compare
from serving.experiments.analysis.guardrail import Harm, harm_of
from streams.experiments.metric import Direction
from tests.serving.experiments.analysis.members import members


def _harm(lift: float, direction: Direction, max_harm: float, sign: float = 1.0, n: int = 4_000, seed: int = 1) -> Harm:
    rng = np.random.default_rng(seed)
    arms = [members(sign * 10.0 + rng.normal(0, 3, n)), members(sign * 10.0 + 10.0 * lift + rng.normal(0, 3, n))]
    return harm_of(compare(arms[0].moments, arms[1].moments), direction, max_harm, 0.05, 2 * n)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    ("lift", "direction", "harmful", "safe"),
    [
        (-0.10, "increase", True, False),
        (0.10, "increase", False, True),
        (0.00, "increase", False, True),
        (-0.05, "increase", False, False),
        (0.10, "decrease", True, False),
        (-0.10, "decrease", False, True),
        (0.05, "decrease", False, False),
    ],
)
def test_harm_beyond_the_margin_is_told_from_none(
    sign: float, lift: float, direction: Direction, harmful: bool, safe: bool
) -> None:
    """A margin of 5 %; a negative control's size counts, so that more is still more."""
    harm = _harm(lift, direction, 0.05, sign)
    assert (harm.harmful, harm.safe) == (harmful, safe)
    worse = lift if direction == "decrease" else -lift
    assert harm.estimate == pytest.approx(worse, abs=0.02)
    assert harm.at_least is not None
    assert harm.at_most is not None
    assert harm.at_least < worse < harm.at_most


def test_bounds_and_p_values_say_the_same() -> None:
    verdicts = set()
    for seed in range(30):
        for direction in ("increase", "decrease"):
            harm = _harm(0.08 - seed / 180, direction, 0.02, n=300, seed=seed)
            assert harm.at_least is not None
            assert harm.at_most is not None
            assert harm.harmful == (harm.at_least >= 0.02)
            assert harm.safe == (harm.at_most <= 0.02)
            verdicts.add((harm.harmful, harm.safe))
    assert verdicts == {(True, False), (False, True), (False, False)}


def test_without_a_margin_any_sure_harm_counts() -> None:
    assert _harm(-0.03, "increase", 0.0).harmful
    assert not _harm(0.03, "increase", 0.0).harmful


def test_without_data_nothing_is_sure() -> None:
    nothing = members([]).moments
    harm = harm_of(compare(nothing, nothing), "increase", 0.01, 0.05, 1_000)
    assert (harm.harmful, harm.safe, harm.reason) == (False, False, "fewer than two members in an arm")
