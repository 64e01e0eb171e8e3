"""Seen titles: hashes in bytes, compacted now and then."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.events import Event
from streams.features.seen_titles import RECORD, SLACK, Seen, SeenTitles, TitleHashes

SEEN = Seen(counted=("play",), bound=100)


def play(item_id: str, time_ms: int) -> Event:
    return Event("e", "play", "m", time_ms, item_id)


def state_of(*stream: Event) -> bytearray:
    state = SEEN.initialize()
    for event in stream:
        state = SEEN.update(state, event, ())
    return state


def seen(*stream: Event) -> SeenTitles:
    return SEEN.result(state_of(*stream), 0)[0]


def test_a_title_is_seen_once_it_was_played() -> None:
    found = seen(play("a", 1_000), play("b", 2_000))

    assert "a" in found
    assert "b" in found
    assert "c" not in found
    assert 7 not in found
    assert len(found) == 2


def test_indexes_are_those_of_the_catalogue() -> None:
    titles = TitleHashes(["z", "a", "m", "b"])

    assert sorted(seen(play("b", 1), play("gone", 2), play("z", 3)).indexes(titles)) == [0, 3]
    assert list(seen().indexes(titles)) == []
    assert list(seen(play("a", 1)).indexes(TitleHashes([]))) == []


def test_watching_one_title_on_and_on_takes_one_record() -> None:
    state = state_of(*(play("a", second * 1_000) for second in range(500)))

    assert len(state) == RECORD.size
    assert RECORD.unpack(bytes(state))[0] == 499


def test_a_late_event_does_not_set_the_time_back() -> None:
    assert RECORD.unpack(bytes(state_of(play("a", 9_000), play("a", 5_000))))[0] == 9


def test_over_the_bound_the_titles_seen_longest_ago_are_dropped() -> None:
    count = SEEN.bound + SLACK + 1
    found = seen(*(play(f"t{number}", number * 1_000) for number in range(count)))

    assert len(found) == SEEN.bound
    assert f"t{count - 1}" in found
    assert f"t{count - SEEN.bound}" in found
    assert f"t{count - SEEN.bound - 1}" not in found


@given(st.lists(st.integers(0, 150), max_size=80), st.lists(st.integers(0, 150), max_size=80))
def test_merged_states_have_seen_what_either_has(some: list[int], others: list[int]) -> None:
    left = state_of(*(play(f"t{number}", number * 1_000) for number in some))
    right = state_of(*(play(f"t{number}", number * 1_000) for number in others))

    merged = SEEN.result(SEEN.merge(left, right), 0)[0]
    newest = sorted({*some, *others})[-SEEN.bound :]

    assert set(merged.indexes(TitleHashes([f"t{number}" for number in range(151)]))) == set(newest)
