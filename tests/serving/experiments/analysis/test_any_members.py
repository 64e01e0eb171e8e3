"""Whatever members bring: an answer or a reason, never nan, never an exception."""

from __future__ import annotations

import math

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.experiments.analysis.comparison import Comparison, compare_strata
from serving.experiments.analysis.confidence_sequence import sequential
from serving.experiments.analysis.futility import conditional_power
from serving.experiments.analysis.guardrail import harm_of
from serving.experiments.analysis.welch import welch
from streams.experiments.moments import SCALE, Moments

NUMBERS = st.sampled_from([0, 0, 1, -1, SCALE, -SCALE, 3 * SCALE, 10**15, -(10**15), 10**30])
WHOLE = st.sampled_from([0, 0, SCALE, SCALE, 7 * SCALE])
MEMBER = st.builds(Moments.of, NUMBERS, WHOLE, NUMBERS, WHOLE)
ARM = st.lists(MEMBER, max_size=6).map(lambda members: sum(members, Moments()))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(ARM, ARM), min_size=1, max_size=3), st.booleans())
def test_answers_are_finite_or_missing_with_a_reason(strata: list[tuple[Moments, Moments]], cuped: bool) -> None:
    found = compare_strata(strata, cuped=cuped)
    results = [
        welch(found, 0.05),
        sequential(found, 0.05, 100.0),
        harm_of(found, "increase", 0.02, 0.05, 100.0),
        harm_of(found, "decrease", 0.0, 0.05, 100.0),
    ]
    for result in results:
        numbers = [each for each in msgspec.structs.astuple(result) if isinstance(each, float)]
        assert all(math.isfinite(number) for number in numbers)
        assert msgspec.json.decode(msgspec.json.encode(result), type=type(result)) == result
        assert isinstance(found, Comparison) or result.reason
    for effect in results[:2]:
        assert effect.p_value is None or 0.0 <= effect.p_value <= 1.0
    power = conditional_power(found, 0.01, "increase", 100.0, 3.0)
    assert power is None or 0.0 <= power <= 1.0
