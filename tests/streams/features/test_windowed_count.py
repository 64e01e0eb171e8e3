"""Windowed counts against a naive count over all events."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.events import EVENT_TYPES, Event
from streams.features.windowed_count import DAY, DAY_MS, HOUR_MS, MONTH, WEEK, WindowedCount
from tests.streams.features.events import NOW_MS, events

BY_TYPE = WindowedCount(counted=EVENT_TYPES, by_type=True)
TOGETHER = WindowedCount(counted=("play", "rate"), positive_only=True)
FROM_PAGES = WindowedCount(counted=("click", "play"), windows=(MONTH,), from_page_only=True)


def play(time_ms: int, page_id: str | None = None) -> Event:
    return Event("e", "play", "m", time_ms, "t", page_id=page_id)


def counts(definition: WindowedCount, now_ms: int, *stream: Event) -> dict[str, float]:
    state = definition.initialize()
    for event in stream:
        if event.type in definition.types:
            definition.update(state, event, ())
    return definition.result(state, now_ms)


def test_an_event_counts_in_every_window_that_holds_it() -> None:
    found = counts(TOGETHER, NOW_MS, play(NOW_MS), play(NOW_MS - 3 * DAY_MS), play(NOW_MS - 20 * DAY_MS))

    assert found == {"1d": 1.0, "7d": 2.0, "30d": 3.0}


def test_counts_go_down_as_time_goes_by_without_events() -> None:
    assert counts(TOGETHER, NOW_MS + 2 * DAY_MS, play(NOW_MS)) == {"7d": 1.0, "30d": 1.0}
    assert counts(TOGETHER, NOW_MS + 31 * DAY_MS, play(NOW_MS)) == {}


def test_an_event_older_than_the_window_behind_the_newest_is_dropped() -> None:
    state = TOGETHER.initialize()
    for event in (play(NOW_MS), play(NOW_MS - 40 * DAY_MS)):
        TOGETHER.update(state, event, ())

    assert TOGETHER.result(state, NOW_MS - 40 * DAY_MS) == {"1d": 1.0, "7d": 1.0, "30d": 1.0}
    assert sum(map(len, state)) == 2


def test_ratings_count_only_where_they_speak_for_the_title() -> None:
    ratings = [Event("e", "rate", "m", NOW_MS, "t", value=stars) for stars in (None, 1.0, 2.5, 3.0, 5.0)]

    assert counts(TOGETHER, NOW_MS, *ratings)["1d"] == 2.0


def test_only_events_that_followed_a_page_count_where_that_is_asked() -> None:
    assert counts(FROM_PAGES, NOW_MS, play(NOW_MS), play(NOW_MS, "p1")) == {"30d": 1.0}


@given(st.lists(events(), max_size=40), st.integers(0, 40 * DAY_MS))
def test_counts_equal_those_over_all_events_as_long_as_none_was_dropped(stream: list[Event], later_ms: int) -> None:
    recent = [event for event in stream if NOW_MS - 20 * HOUR_MS <= event.event_time_ms <= NOW_MS]
    now_ms = NOW_MS + later_ms
    expected: dict[str, float] = {}
    for window in (DAY, WEEK, MONTH):
        oldest = now_ms // window.pane_ms - window.span_ms // window.pane_ms + 1
        for event in recent:
            if event.event_time_ms // window.pane_ms >= oldest:
                name = f"{event.type}:{window.name}"
                expected[name] = expected.get(name, 0.0) + 1

    assert counts(BY_TYPE, now_ms, *recent) == expected


@given(st.lists(events(), max_size=60))
def test_the_state_is_bounded_by_panes_and_types(stream: list[Event]) -> None:
    state = BY_TYPE.initialize()
    for event in stream:
        BY_TYPE.update(state, event, ())

    hours, days = state
    assert len(hours) <= 24 * len(EVENT_TYPES)
    assert len(days) <= 30 * len(EVENT_TYPES)
    assert list(hours) == sorted(hours)
    assert list(days) == sorted(days)
