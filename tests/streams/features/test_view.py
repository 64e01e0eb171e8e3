"""Views: the fold, packing, versions, bounds and vectors."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import Corrupt
from streams.events import EVENT_TYPES, MAX_EVENT_TIME_MS, MAX_ID_BYTES, Event, EventType
from streams.features.affinity import Affinity
from streams.features.compiled_fold import compile_fold, plain_fold
from streams.features.entity_state import EntityState
from streams.features.history import History
from streams.features.member import MEMBER, TTL_MS, history, seen
from streams.features.recent_events import RecentEvents
from streams.features.title import TITLE, TITLE_SHOWN
from streams.features.view import OtherVersion, View
from streams.positions import NOTHING
from streams.stores.protocol import position_of
from tests.streams.features.events import CATALOGUE, DAY_MS, FIRST, NOW_MS, events, folded, generated, genres_of

views = pytest.mark.parametrize("view", [MEMBER, TITLE, TITLE_SHOWN], ids=lambda view: view.name)
streams = st.lists(events(), max_size=40)
GENRES = CATALOGUE.genres


def play(number: int, time_ms: int = NOW_MS, item_id: str = "t0") -> Event:
    return Event(f"e{number}", "play", "m", time_ms, item_id)


def fold_all(view: View, stream: list[Event], first: int = FIRST) -> EntityState:
    state = view.initialize()
    for position, event in enumerate(stream, first):
        view.fold(state, event, position, genres_of(event))
    return state


@views
@settings(max_examples=50)
@given(streams)
def test_the_compiled_fold_does_what_the_loop_does(view: View, stream: list[Event]) -> None:
    plain = plain_fold(view.aggregations, view.distinct, view.ttl_ms)
    compiled = compile_fold(view.aggregations, view.distinct, view.ttl_ms)
    one, other = view.initialize(), view.initialize()
    for position, event in enumerate(stream, FIRST):
        assert compiled(one, event, position, genres_of(event)) == plain(other, event, position, genres_of(event))

    assert view.pack(one) == view.pack(other)


@views
@settings(max_examples=50)
@given(streams, st.sets(st.integers(0, 40)))
def test_packing_in_between_changes_no_byte(view: View, stream: list[Event], packed_at: set[int]) -> None:
    state = view.initialize()
    for number, event in enumerate(stream):
        if number in packed_at:
            state = view.unpack(view.pack(state))
        view.fold(state, event, FIRST + number, genres_of(event))

    assert view.pack(state) == view.pack(fold_all(view, stream))


@views
@settings(max_examples=50)
@given(streams, st.integers(0, 39))
def test_events_at_or_below_the_position_change_nothing(view: View, stream: list[Event], again_from: int) -> None:
    state = fold_all(view, stream)
    before = view.pack(state)
    for number, event in enumerate(stream[again_from:], again_from):
        assert not view.fold(state, event, FIRST + number, genres_of(event))

    assert view.pack(state) == before


@settings(max_examples=50)
@given(streams, streams)
def test_merged_members_know_the_events_and_positions_of_both(some: list[Event], others: list[Event]) -> None:
    left, right = fold_all(MEMBER, some), fold_all(MEMBER, others)
    merged = MEMBER.merge([left, right])

    assert merged.position == max(left.position, right.position)
    assert merged.watermark_ms == max(left.watermark_ms, right.watermark_ms)
    assert MEMBER.merge([right, left]).watermark_ms == merged.watermark_ms
    assert MEMBER.pack(MEMBER.merge([left])) == MEMBER.pack(left)


def test_a_repeated_event_id_advances_the_position_and_nothing_else() -> None:
    state = fold_all(MEMBER, [play(1)])
    before = MEMBER.pack(state)

    assert not MEMBER.fold(state, play(1), FIRST + 7, ("Drama",))
    assert state.position == FIRST + 7
    assert MEMBER.pack(state)[8:] == before[8:]


def test_titles_take_every_event_that_is_new_by_position() -> None:
    state = fold_all(TITLE, [play(1), play(1)])

    assert TITLE.result(state, NOW_MS)["count:1d"] == 2.0


def test_after_the_ttl_a_member_starts_anew_but_remembers_event_ids() -> None:
    state = fold_all(MEMBER, [play(1, 1_000, "t1"), play(2, 2_000, "t2")])

    assert MEMBER.fold(state, play(3, 2_001 + TTL_MS, "t3"), FIRST + 2, ())
    assert [entry.item_id for entry in history(state)] == ["t3"]
    assert "t1" not in seen(state)
    assert not MEMBER.fold(state, play(1, 2_001 + TTL_MS), FIRST + 3, ())


def test_an_event_from_before_the_ttl_is_taken_note_of_and_not_folded() -> None:
    state = fold_all(MEMBER, [play(1, NOW_MS, "t1")])

    assert MEMBER.fold(state, play(2, NOW_MS - TTL_MS - 1, "t2"), FIRST + 1, ())
    assert [entry.item_id for entry in history(state)] == ["t1"]
    assert not MEMBER.fold(state, play(2, NOW_MS), FIRST + 2, ())


def test_an_entity_expires_after_its_ttl() -> None:
    state = fold_all(MEMBER, [play(1, NOW_MS)])

    assert not MEMBER.expired(state, NOW_MS + TTL_MS)
    assert MEMBER.expired(state, NOW_MS + TTL_MS + 1)
    assert not TITLE.expired(fold_all(TITLE, [play(1, 0)]), NOW_MS)


@views
def test_a_packed_state_begins_with_position_and_fingerprint(view: View) -> None:
    value = view.pack(fold_all(view, [play(1), play(2)]))

    assert position_of(value) == FIRST + 1
    assert int.from_bytes(value[8:12], "big") == view.fingerprint
    assert view.unpack(value).position == FIRST + 1


def test_a_state_of_another_version_is_refused_as_such() -> None:
    with pytest.raises(OtherVersion, match="fingerprint"):
        MEMBER.unpack(TITLE.pack(TITLE.initialize()))


def test_every_parameter_is_part_of_the_fingerprint() -> None:
    view = partial(View, name="v", topic="t")
    fingerprints = {
        view(aggregations={"history": History(bound=128)}).fingerprint,
        view(aggregations={"history": History(bound=64)}).fingerprint,
        view(aggregations={"past": History(bound=128)}).fingerprint,
        view(aggregations={"history": Affinity(half_life_ms=DAY_MS)}).fingerprint,
        view(aggregations={"history": History(bound=128)}, ttl_ms=DAY_MS).fingerprint,
        dataclasses.replace(view(aggregations={}), name="w").fingerprint,
    }

    assert len(fingerprints) == 6
    assert view(aggregations={"history": History(bound=128)}).fingerprint in fingerprints


def test_only_a_memory_of_event_ids_can_tell_repeated_events() -> None:
    with pytest.raises(TypeError, match="event ids"):
        View(name="v", topic="t", aggregations={"history": History(bound=1)}, distinct="history")
    assert View(name="v", topic="t", aggregations={"ids": RecentEvents(bound=1)}, distinct="ids").slots == {"ids": 0}


@views
@given(st.binary(max_size=60))
def test_bytes_that_are_no_state_are_corrupt(view: View, junk: bytes) -> None:
    for value in (junk, view.pack(view.initialize())[:12] + junk):
        try:
            state = view.unpack(value)
        except Corrupt:
            continue
        assert view.unpack(view.pack(state)) == state


@views
def test_a_truncated_state_is_corrupt_wherever_it_was_cut(view: View) -> None:
    value = view.pack(fold_all(view, [play(1), play(2, item_id="t1")]))
    for length in range(len(value)):
        with pytest.raises(Corrupt):
            view.unpack(value[:length])


def test_states_are_bounded_whatever_arrives() -> None:
    longest = "t" * (MAX_ID_BYTES - 6)
    state, title = MEMBER.initialize(), TITLE.initialize()
    genres = tuple(f"genre {number}" for number in range(20))
    for number in range(9_000):
        event = Event(
            event_id=f"e{number}",
            type=get_args(EventType)[number % len(EVENT_TYPES)],
            member_id="m",
            event_time_ms=MAX_EVENT_TIME_MS - 45 * DAY_MS + number * 7 * 60_000,
            item_id=f"{longest}{number:06d}",
            page_id="p",
            value=1e9,
        )
        MEMBER.fold(state, event, FIRST + number, genres)
        TITLE.fold(title, event, FIRST + number, genres)

    assert len(MEMBER.pack(state)) < 200_000
    assert len(TITLE.pack(title)) < 2_000
    assert len(history(state)) == 128


def test_a_vector_has_the_named_features_and_zeros_for_unknown_ones() -> None:
    state = folded([play(1, item_id="t1"), play(2, NOW_MS - 2 * DAY_MS, item_id="t1")]).members["m"]
    names = ["count:play:1d", "count:play:7d", "affinity:Comedy", "affinity:Nothing", "recency_s", "no such feature"]

    vector = MEMBER.vector(state, names, NOW_MS + 1_000)

    assert vector.dtype == np.float32
    assert vector.tolist() == pytest.approx([1.0, 2.0, 1 + 2 ** (-2 / 30), 0.0, 1.0, 0.0], rel=1e-5)
    assert MEMBER.vector(state, [], NOW_MS).shape == (0,)


@views
@settings(max_examples=50)
@given(streams)
def test_a_vector_agrees_with_the_result_by_name(view: View, stream: list[Event]) -> None:
    state = fold_all(view, stream)
    names = view.feature_names(GENRES)
    result = view.result(state, NOW_MS)
    vector = view.vector(state, names, NOW_MS)

    assert len(set(names)) == len(names)
    scalars = {name: value for name, value in result.items() if isinstance(value, float)}
    assert set(scalars) <= set(names)
    assert all(isinstance(value, (float, list)) for value in result.values())
    assert vector.tolist() == pytest.approx([scalars.get(name, 0.0) for name in names], rel=1e-6)
    assert np.isfinite(vector).all()


def test_a_state_read_as_of_before_its_newest_event_is_read_as_of_that() -> None:
    state = fold_all(TITLE, [play(1, NOW_MS)])

    assert TITLE.result(state, 0) == TITLE.result(state, NOW_MS)
    assert TITLE.vector(state, ["popularity:1d"], 0).tolist() == pytest.approx([1.0])


def test_reading_a_state_does_not_change_it() -> None:
    for state in folded(generated(200, 3)).members.values():
        before = MEMBER.pack(state)
        MEMBER.result(state, NOW_MS)
        MEMBER.vector(state, MEMBER.feature_names(GENRES), NOW_MS)
        assert MEMBER.pack(state) == before


def test_a_state_of_no_events_stands_at_nothing() -> None:
    assert MEMBER.initialize().position == NOTHING
    assert MEMBER.unpack(MEMBER.pack(MEMBER.initialize())) == MEMBER.initialize()
