"""Features computed when they are read: session, recency, trend, click-through."""

from __future__ import annotations

import pytest

from streams.events import Event, EventType
from streams.features.click_through import click_through
from streams.features.entity_state import EntityState
from streams.features.member import MEMBER, SESSION_GAP_MS
from streams.features.replay import PartitionStates
from streams.features.title import CLICK_THROUGH, TITLE, TITLE_FEATURES, TITLE_SHOWN, title_features, title_vector
from streams.features.trend import trend
from streams.impressions import Impression, ShownItem, ShownRow
from tests.streams.features.events import DAY_MS, FIRST, NOW_MS

NAMES = ["session_length", "session_age_s", "recency_s"]


def states_after(*times_ms: int, page_id: str | None = None) -> PartitionStates:
    states = PartitionStates()
    for number, time_ms in enumerate(times_ms):
        event = Event(f"e{number}", "play", "m", time_ms, "t", page_id=page_id)
        states.fold_event(event, (), FIRST + number)
    return states


def member(state: EntityState, now_ms: int) -> list[float]:
    return list(map(float, MEMBER.vector(state, NAMES, now_ms)))


def test_a_session_is_the_run_of_events_without_a_long_pause() -> None:
    minute_ms = 60_000
    states = states_after(NOW_MS - 90 * minute_ms, NOW_MS - 50 * minute_ms, NOW_MS - 25 * minute_ms, NOW_MS)

    assert member(states.members["m"], NOW_MS + minute_ms) == [3.0, 51 * 60.0, 60.0]


def test_events_exactly_the_gap_apart_are_one_session() -> None:
    states = states_after(NOW_MS - SESSION_GAP_MS, NOW_MS)

    assert member(states.members["m"], NOW_MS)[0] == 2.0


def test_after_a_long_pause_there_is_no_session() -> None:
    states = states_after(NOW_MS)

    assert member(states.members["m"], NOW_MS + SESSION_GAP_MS + 1)[:2] == [0.0, 0.0]


def test_a_member_without_events_has_zeros() -> None:
    assert member(MEMBER.initialize(), NOW_MS) == [0.0, 0.0, 0.0]


def test_an_event_ahead_of_the_clock_is_now() -> None:
    states = states_after(NOW_MS + 5_000)

    assert member(states.members["m"], NOW_MS) == [1.0, 0.0, 0.0]


def test_trend_is_zero_when_steady_and_grows_with_demand() -> None:
    assert trend(0, 0, 1.0) == 0.0
    assert trend(10, 70, 1.0) == 0.0
    assert trend(50, 50, 1.0) > 2.0 > trend(1, 1, 1.0) > 0.0 > trend(0, 70, 1.0)


def test_click_through_is_smoothed_and_never_over_one() -> None:
    assert click_through(0, 0) == pytest.approx(0.05)
    assert click_through(1, 1) == pytest.approx(2 / 21)
    assert click_through(1000, 10) == 1.0


def shown_after(*titles: str, times: int = 1, origin: str | None = None) -> PartitionStates:
    states = PartitionStates()
    row = ShownRow("top_picks", 0, [ShownItem(item_id, place, 0.5, 1.0) for place, item_id in enumerate(titles)])
    for number in range(times):
        impression = Impression(f"p{number}", "m", NOW_MS, "fresh", [row], origin_page_id=origin)
        states.fold_impression(impression, FIRST + number)
    return states


def test_click_through_puts_clicks_after_pages_over_impressions() -> None:
    clicks = states_after(*(NOW_MS - number for number in range(9)), page_id="p")
    shown = shown_after("t", times=80)
    values = title_features(clicks.titles["t"], shown.shown["t"], NOW_MS)

    assert values["clicks:30d"] == 9.0
    assert values["shown:1d"] == 80.0
    assert values[CLICK_THROUGH] == pytest.approx(0.1)


def test_a_title_shown_twice_on_a_page_counts_once_and_a_repeated_page_not_at_all() -> None:
    assert TITLE_SHOWN.result(shown_after("t", "t").shown["t"], NOW_MS)["shown:1d"] == 1.0
    assert shown_after("t", origin="p0").shown == {}


def test_a_title_vector_has_every_feature_in_the_order_of_the_names() -> None:
    states = states_after(NOW_MS - 10 * DAY_MS, NOW_MS)
    vector = title_vector(states.titles["t"], None, [*TITLE_FEATURES, "unknown"], NOW_MS)
    values = dict(zip([*TITLE_FEATURES, "unknown"], vector.tolist(), strict=True))

    assert values["age_days"] == pytest.approx(10.0)
    assert values["count:1d"] == 1.0
    assert values["count:30d"] == 2.0
    assert values["popularity:1d"] == pytest.approx(1 + 2**-10)
    assert values["trend"] > 0
    assert values["shown:30d"] == values["unknown"] == 0.0


def test_a_title_that_nobody_met_has_the_prior_and_zeros() -> None:
    vector = title_vector(None, None, ["count:1d", CLICK_THROUGH], NOW_MS)

    assert vector.tolist() == pytest.approx([0.0, 0.05])


def test_states_of_partitions_merge_to_the_state_of_all() -> None:
    one = states_after(NOW_MS - 40 * DAY_MS, NOW_MS - DAY_MS)
    other = states_after(NOW_MS - 50 * DAY_MS, NOW_MS)
    both = states_after(NOW_MS - 40 * DAY_MS, NOW_MS - DAY_MS, NOW_MS - 50 * DAY_MS, NOW_MS)
    merged = TITLE.merge([one.titles["t"], other.titles["t"]])

    assert TITLE.result(merged, NOW_MS) == pytest.approx(TITLE.result(both.titles["t"], NOW_MS))
    assert TITLE.merge([]) == TITLE.initialize()


def test_a_title_counts_choices_to_watch_and_neither_looks_nor_bad_ratings() -> None:
    states = PartitionStates()
    kinds: list[tuple[EventType, float | None]] = [
        ("view", None),
        ("click", None),
        ("play", None),
        ("progress", 60.0),
        ("list_add", None),
        ("like", None),
    ]
    for number, (kind, value) in enumerate([*kinds, ("rate", 4.0), ("rate", 2.0)]):
        states.fold_event(Event(f"e{number}", kind, "m", NOW_MS, "t", value=value), (), FIRST + number)
    values = title_features(states.titles["t"], None, NOW_MS)
    assert [values[f"count:{window}"] for window in ("1d", "7d", "30d")] == [2.0, 2.0, 2.0]
    assert values["popularity:1d"] == pytest.approx(7.0)
