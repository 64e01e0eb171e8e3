"""Replay: the same bytes however the log is cut, each event once."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalogue import Catalogue
from streams.event_log.protocol import Batch, Record
from streams.events import Event, encode_event
from streams.features.member import MEMBER, history
from streams.features.replay import OfflineStates, replay, shown_titles
from streams.features.title import TITLE, title_key
from streams.importers.kuairand import read_kuairand
from streams.importers.movielens import read_movielens
from streams.impressions import Impression, ShownItem, ShownRow, encode_impression
from streams.topics import EXPOSURES, IMPRESSIONS, MEMBER_EVENTS
from tests.streams.features.events import CATALOGUE, DAY_MS, EPOCH, NOW_MS, batches, events, generated
from tests.streams.importers.real_data import folder_or_skip


@settings(max_examples=40)
@given(st.lists(events(members=3), max_size=40), st.lists(st.integers(0, 10), max_size=10))
def test_states_do_not_depend_on_batch_boundaries(stream: list[Event], sizes: list[int]) -> None:
    assert replay(batches(stream, sizes), CATALOGUE).packed() == replay(batches(stream), CATALOGUE).packed()


@settings(max_examples=40)
@given(st.lists(events(members=3), max_size=40), st.integers(0, 40))
def test_a_batch_delivered_again_changes_nothing(stream: list[Event], size: int) -> None:
    cut = batches(stream, [size])

    assert replay([*cut, *cut], CATALOGUE).packed() == replay(cut, CATALOGUE).packed()


def test_duplicates_count_once_for_member_and_title() -> None:
    event = Event("e", "play", "m", NOW_MS, "t1")
    states = replay(batches([event, event, event]), CATALOGUE)
    member = states.member("m")

    assert member is not None
    assert len(history(member)) == 1
    assert TITLE.result(states.partition(0).titles["t1"], NOW_MS)["count:1d"] == 1.0


def test_partitions_keep_their_own_title_states() -> None:
    event = Event("e", "play", "m", NOW_MS, "t1")
    other = Event("e", "play", "n", NOW_MS, "t1")
    packed = replay([*batches([event]), *batches([other], partition=3)], CATALOGUE).packed()

    assert set(packed["title"]) == {title_key("t1", 0), title_key("t1", 3)}
    assert set(packed["member"]) == {b"m", b"n"}


def test_what_cannot_be_delivered_is_counted_and_left_out() -> None:
    good = encode_event(Event("e", "play", "m", NOW_MS, "t1"))
    unknown = encode_event(Event("f", "play", "m", NOW_MS, "no such title"))
    records = [Record(offset, NOW_MS, b"", value) for offset, value in enumerate([b"junk", good, unknown])]
    states = replay([Batch(MEMBER_EVENTS, 0, EPOCH, records)], CATALOGUE)

    assert states.refused == 2
    assert dict(states.items())["member"].keys() == {b"m"}
    assert states.member("nobody") is None


def test_a_search_without_a_title_is_the_members_alone() -> None:
    states = replay(batches([Event("e", "search", "m", NOW_MS)]), CATALOGUE)
    member = states.member("m")

    assert member is not None
    assert MEMBER.result(member, NOW_MS)["count:search:1d"] == 1.0
    assert states.partition(0).titles == {}


def test_impressions_count_shown_titles_and_other_topics_nothing() -> None:
    rows = [ShownRow("top_picks", 0, [ShownItem("t1", 0, 0.5, 1.0), ShownItem("t2", 1, 0.4, 1.0)])]
    raw = encode_impression(Impression("p", "m", NOW_MS, "fresh", rows))
    states = OfflineStates(CATALOGUE)
    states.take(Batch(IMPRESSIONS, 2, EPOCH, [Record(0, NOW_MS, b"", raw), Record(1, NOW_MS, b"", b"junk")]))
    states.take(Batch(EXPOSURES, 2, EPOCH, [Record(0, NOW_MS, b"", b"{}")]))

    assert set(states.packed()["title_shown"]) == {title_key("t1", 2), title_key("t2", 2)}
    assert states.refused == 1
    assert shown_titles(Impression("p", "m", NOW_MS, "fresh", [], origin_page_id="o")) == []


def test_generated_events_with_duplicates_count_each_id_once() -> None:
    stream = generated(800, 5)
    states = replay(batches(stream), CATALOGUE)

    _assert_each_id_counted_once(stream, states)


@pytest.mark.parametrize("name", ["ml-latest-small"])
def test_movielens_is_the_same_however_it_is_cut(name: str) -> None:
    dataset = read_movielens(folder_or_skip(name))
    catalogue = Catalogue(dataset.titles)
    stream = dataset.events[:5_000]

    whole = replay(batches(stream), catalogue)
    assert whole.refused == 0
    assert replay(batches(stream, [7, 1_000, 1, 2_500]), catalogue).packed() == whole.packed()
    _assert_each_id_counted_once(stream, whole)


def test_kuairands_duplicate_rows_count_once() -> None:
    dataset = read_kuairand(folder_or_skip("kuairand-pure"))
    stream = dataset.events[:8_000]
    states = replay(batches(stream), Catalogue(dataset.titles))

    assert len({event.event_id for event in stream}) < len(stream)
    _assert_each_id_counted_once(stream, states)


def _assert_each_id_counted_once(stream: list[Event] | object, states: OfflineStates) -> None:
    assert isinstance(stream, (list, tuple))
    distinct = {event.event_id: event for event in stream}
    newest_ms = max(event.event_time_ms for event in stream)
    expected = Counter(
        event.member_id for event in distinct.values() if event.event_time_ms // DAY_MS > newest_ms // DAY_MS - 30
    )
    for member_id, count in expected.items():
        member = states.member(member_id)
        assert member is not None
        result = MEMBER.result(member, newest_ms)
        values = [value for name, value in result.items() if name.startswith("count:") and name.endswith(":30d")]
        assert sum(value for value in values if isinstance(value, float)) == count
