"""Aggregates add up exactly and can be taken apart again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.errors import Corrupt
from streams.experiments.aggregates import Cell, Counted, Sums, contribution, decode_sums, encode_sums, total
from streams.experiments.moments import SCALE
from streams.experiments.outcomes import LARGEST, FirstExposure
from tests.streams.experiments.world import DAY_MS, METRICS, START_MS, an_experiment

DEFINITION = an_experiment().definition
integers = st.integers(-LARGEST, LARGEST)
numbers = st.fixed_dictionaries({metric.name: st.tuples(integers, integers, integers, integers) for metric in METRICS})
firsts = st.builds(
    FirstExposure,
    st.integers(START_MS, START_MS + 3 * DAY_MS),
    st.integers(1, 9),
    st.sampled_from(["control", "treatment"]),
    st.sampled_from(["fresh", "stale"]),
    st.sampled_from(["US", "de", ""]),
    st.sampled_from(["tv", "a toaster"]),
)
members = st.lists(st.builds(Counted, firsts, st.none() | firsts, numbers), min_size=1, max_size=8)


@given(members, st.data())
def test_whatever_the_order_the_sums_are_the_same_and_a_member_can_be_taken_out(
    counted: list[Counted], data: st.DataObject
) -> None:
    parts = [contribution(DEFINITION, each) for each in counted]
    whole = total(parts)
    assert total(data.draw(st.permutations(parts))) == whole
    gone = data.draw(st.integers(0, len(parts) - 1))
    rest = total(part for number, part in enumerate(parts) if number != gone)
    less = {cell: sums - parts[gone].get(cell, Sums()) for cell, sums in whole.items()}
    assert {cell: sums for cell, sums in less.items() if not sums.is_empty} == rest


@given(members)
def test_sums_are_stored_without_loss(counted: list[Counted]) -> None:
    for sums in total(contribution(DEFINITION, each) for each in counted).values():
        assert decode_sums(encode_sums(sums)) == sums


def test_a_member_counts_in_the_whole_and_by_primary_metric_in_each_segment() -> None:
    first = FirstExposure(START_MS, 1, "control", "popular", "US", "tv")
    counted = Counted(first, None, {metric.name: (SCALE, SCALE, 0, SCALE) for metric in METRICS})
    cells = contribution(DEFINITION, counted)
    day = START_MS // DAY_MS
    assert cells.keys() == {Cell("control", day, "degraded", segment) for segment in ("", "device=tv", "country=US")}
    assert cells[Cell("control", day, "degraded", "")].moments.keys() == {metric.name for metric in METRICS}
    assert cells[Cell("control", day, "degraded", "device=tv")].moments.keys() == {"plays"}
    assert sum(cells[Cell("control", day, "degraded", "")].histograms["median"].values()) == 1


def test_a_member_of_two_variants_is_counted_as_such_and_no_further() -> None:
    counted = Counted(FirstExposure(START_MS, 1, "control"), FirstExposure(START_MS, 2, "treatment"))
    assert list(contribution(DEFINITION, counted).values()) == [Sums(crossed=1)]


@pytest.mark.parametrize("value", ["", "{", '{"members": "many"}', '{"moments": {"m": [1, ["x"], []]}}'])
def test_damaged_sums_are_told_apart_from_none(value: str) -> None:
    with pytest.raises(Corrupt):
        decode_sums(value)
