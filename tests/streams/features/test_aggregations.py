"""What every aggregation promises, checked on each that a view uses."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.events import Event
from streams.features.affinity import Affinity, GenreSums
from streams.features.aggregation import Aggregation, State
from streams.features.member import MEMBER
from streams.features.popularity import HalfLifeSums, Popularity
from streams.features.title import TITLE, TITLE_SHOWN
from tests.streams.features.events import NOW_MS, events, genres_of

DEFINITIONS = {
    f"{view.name}-{name}": aggregation
    for view in (MEMBER, TITLE, TITLE_SHOWN)
    for name, aggregation in view.aggregations.items()
}
every_aggregation = pytest.mark.parametrize("aggregation", DEFINITIONS.values(), ids=DEFINITIONS.keys())
streams = st.lists(events(), max_size=12)
few = settings(max_examples=20)  # of each law, for each of a dozen definitions


def fold(aggregation: Aggregation, stream: Sequence[Event]) -> State:
    state = aggregation.initialize()
    for event in stream:
        if event.type in aggregation.types:
            state = aggregation.update(state, event, genres_of(event))
    return state


def comparable(aggregation: Aggregation, state: Any) -> Any:
    """Return what must be equal: all of a state, or float sums to 1e-12 of the terms they are made of."""
    if isinstance(aggregation, Affinity):
        assert isinstance(state, GenreSums)
        return (state.landmark_ms, pytest.approx(state.sums, rel=1e-12, abs=1e-12 * 2**960))
    if isinstance(aggregation, Popularity):
        assert isinstance(state, HalfLifeSums)
        return (state.landmark_ms, pytest.approx(state.sums, rel=1e-12))
    return state


def plain(state: Any) -> Any:
    if isinstance(state, (GenreSums, HalfLifeSums)):
        return msgspec.structs.astuple(state)
    return state


@every_aggregation
@few
@given(streams, streams)
def test_merging_is_commutative(aggregation: Aggregation, some: list[Event], others: list[Event]) -> None:
    left, right = fold(aggregation, some), fold(aggregation, others)

    assert plain(aggregation.merge(left, right)) == comparable(aggregation, aggregation.merge(right, left))


@every_aggregation
@few
@given(streams, streams, streams)
def test_merging_is_associative(aggregation: Aggregation, a: list[Event], b: list[Event], c: list[Event]) -> None:
    one, two, three = fold(aggregation, a), fold(aggregation, b), fold(aggregation, c)
    merge = aggregation.merge

    assert plain(merge(merge(one, two), three)) == comparable(aggregation, merge(one, merge(two, three)))


@every_aggregation
@few
@given(streams)
def test_the_state_of_no_events_is_neutral(aggregation: Aggregation, stream: list[Event]) -> None:
    state = fold(aggregation, stream)

    assert plain(aggregation.merge(state, aggregation.initialize())) == comparable(aggregation, state)
    assert plain(aggregation.merge(aggregation.initialize(), state)) == comparable(aggregation, state)


@every_aggregation
@few
@given(streams, streams)
def test_merging_changes_neither_state(aggregation: Aggregation, some: list[Event], others: list[Event]) -> None:
    left, right = fold(aggregation, some), fold(aggregation, others)
    before = copy.deepcopy((left, right))

    merged = aggregation.merge(left, right)
    for event in some:
        if event.type in aggregation.types:
            merged = aggregation.update(merged, event, genres_of(event))

    assert (left, right) == before


@every_aggregation
@few
@given(streams)
def test_values_are_finite_floats_under_announced_names(aggregation: Aggregation, stream: list[Event]) -> None:
    for now_ms in (0, NOW_MS, 4_102_444_800_000):
        result = aggregation.result(fold(aggregation, stream), now_ms)
        if isinstance(result, dict):
            assert set(result) <= set(aggregation.names(("Drama", "Comedy", "Romance", "Action", "Crime")))
            assert all(isinstance(value, float) and abs(value) < 1e300 for value in result.values())


@every_aggregation
def test_definitions_are_frozen_and_compare_by_parameters(aggregation: Aggregation) -> None:
    assert copy.deepcopy(aggregation) == aggregation
    with pytest.raises(AttributeError):
        setattr(aggregation, "bound", 1)  # noqa: B010 - the attribute is not declared
