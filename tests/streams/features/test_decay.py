"""Decayed sums against the formula they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.events import MAX_EVENT_TIME_MS, Event
from streams.features.affinity import Affinity
from streams.features.decay import BLOCK, decayed, landmark_of, rebase
from streams.features.popularity import Popularity
from streams.features.strength import is_positive, strength
from tests.streams.features.events import DAY_MS, NOW_MS, events, genres_of

POPULARITY = Popularity(half_lives_ms=(("1d", DAY_MS), ("30d", 30 * DAY_MS), ("365d", 365 * DAY_MS)))
AFFINITY = Affinity(half_life_ms=30 * DAY_MS)


def play(time_ms: int) -> Event:
    return Event("e", "play", "m", time_ms, "t")


def popularity(now_ms: int, *stream: Event) -> dict[str, float]:
    state = POPULARITY.initialize()
    for event in stream:
        if event.type in POPULARITY.types:
            POPULARITY.update(state, event, ())
    return POPULARITY.result(state, now_ms)


def test_an_event_counts_half_after_its_half_life() -> None:
    assert popularity(NOW_MS, play(NOW_MS))["1d"] == pytest.approx(1.0)
    assert popularity(NOW_MS + DAY_MS, play(NOW_MS))["1d"] == pytest.approx(0.5)
    assert popularity(NOW_MS + 60 * DAY_MS, play(NOW_MS))["30d"] == pytest.approx(0.25)


def test_popularity_is_the_sum_over_events() -> None:
    found = popularity(NOW_MS, play(NOW_MS - DAY_MS), play(NOW_MS), play(NOW_MS - 2 * DAY_MS))

    assert found["1d"] == pytest.approx(1.75)


@given(st.lists(events(), max_size=30))
def test_popularity_equals_the_formula_whatever_order_events_arrive_in(stream: list[Event]) -> None:
    now_ms = max((event.event_time_ms for event in stream), default=0)
    found = popularity(now_ms, *stream)

    for name, half_life_ms in POPULARITY.half_lives_ms:
        expected = sum(
            2.0 ** ((event.event_time_ms - now_ms) / half_life_ms)
            for event in stream
            if is_positive(event.type, event.value)
        )
        assert found.get(name, 0.0) == pytest.approx(expected, rel=1e-9, abs=1e-250)


@given(st.lists(events(), max_size=30))
def test_affinity_equals_the_formula_whatever_order_events_arrive_in(stream: list[Event]) -> None:
    now_ms = max((event.event_time_ms for event in stream), default=0)
    state = AFFINITY.initialize()
    expected: dict[str, float] = {}
    for event in stream:
        if event.type in AFFINITY.types:
            AFFINITY.update(state, event, genres_of(event))
            weight = strength(event.type, event.value) * 2.0 ** ((event.event_time_ms - now_ms) / AFFINITY.half_life_ms)
            for genre in genres_of(event):
                expected[genre] = expected.get(genre, 0.0) + weight

    assert AFFINITY.result(state, now_ms) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_a_century_of_events_neither_overflows_nor_loses_the_newest() -> None:
    times_ms = range(0, MAX_EVENT_TIME_MS, 10 * DAY_MS)
    newest_ms = times_ms[-1]
    found = popularity(newest_ms, *map(play, times_ms))

    assert found["1d"] == pytest.approx(1 / (1 - 2.0**-10))
    assert found["365d"] == pytest.approx(1 / (1 - 2.0 ** (-10 / 365)), rel=1e-6)


def test_a_landmark_moves_on_by_whole_blocks() -> None:
    block_ms = BLOCK * DAY_MS
    landmark_ms = landmark_of(NOW_MS, block_ms)

    assert 0 <= NOW_MS - landmark_ms < block_ms
    assert rebase(3.0, landmark_ms, landmark_ms, DAY_MS) == 3.0
    assert rebase(2.0**960, landmark_ms, landmark_ms + block_ms, DAY_MS) == 1.0


def test_a_time_before_the_landmark_reads_as_the_landmark() -> None:
    assert decayed(5.0, NOW_MS, DAY_MS, 0) == 5.0
