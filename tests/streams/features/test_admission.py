"""Admission: what goes into the folds, by record and catalogue alone."""

from __future__ import annotations

import pytest

from streams.catalogue import Catalogue, Title
from streams.errors import Undeliverable
from streams.event_log.protocol import Record
from streams.events import MAX_AHEAD_MS, Event, encode_event
from streams.features.admission import BELIEVED_AHEAD_MS, UNKNOWN_TITLE, admit_event, admit_impression
from streams.impressions import Impression, ShownItem, ShownRow, encode_impression
from tests.streams.features.events import NOW_MS

CATALOGUE = Catalogue([Title("t", "Title", 2000, ("Drama",), live_from_ms=NOW_MS)])


def record(event: Event, timestamp_ms: int = NOW_MS) -> Record:
    return Record(0, timestamp_ms, b"", encode_event(event))


def play(time_ms: int = NOW_MS, item_id: str = "t") -> Event:
    return Event("e", "play", "m", time_ms, item_id)


def test_an_admitted_event_comes_with_its_titles_genres() -> None:
    assert admit_event(record(play()), CATALOGUE) == (play(), ("Drama",))


def test_a_record_knows_a_title_from_the_moment_it_is_live() -> None:
    with pytest.raises(Undeliverable) as caught:
        admit_event(record(play(), NOW_MS - 1), CATALOGUE)

    assert caught.value.reason == UNKNOWN_TITLE


def test_an_unknown_title_is_undeliverable() -> None:
    with pytest.raises(Undeliverable, match="unknown-title"):
        admit_event(record(play(item_id="other")), CATALOGUE)


def test_a_search_needs_no_title() -> None:
    search = Event("e", "search", "m", NOW_MS)

    assert admit_event(record(search), CATALOGUE) == (search, ())


def test_a_clock_a_little_ahead_is_believed() -> None:
    time_ms = NOW_MS + BELIEVED_AHEAD_MS

    assert admit_event(record(play(time_ms)), CATALOGUE).event.event_time_ms == time_ms


@pytest.mark.parametrize("ahead_ms", [BELIEVED_AHEAD_MS + 1, MAX_AHEAD_MS])
def test_an_event_from_the_future_happened_when_it_was_appended(ahead_ms: int) -> None:
    assert admit_event(record(play(NOW_MS + ahead_ms)), CATALOGUE).event.event_time_ms == NOW_MS


def test_an_event_over_a_day_ahead_of_its_append_is_undeliverable_whenever_it_is_read() -> None:
    with pytest.raises(Undeliverable) as caught:
        admit_event(record(play(NOW_MS + MAX_AHEAD_MS + 1)), CATALOGUE)

    assert caught.value.reason == "bad-time"
    assert admit_event(record(play(NOW_MS + MAX_AHEAD_MS + 1), NOW_MS + 1), CATALOGUE).event.event_time_ms == NOW_MS + 1


def impression(served_at_ms: int = NOW_MS, item_id: str = "t") -> Record:
    row = ShownRow("top_picks", 0, [ShownItem(item_id, 0, 0.5, 1.0)])
    return Record(0, NOW_MS, b"", encode_impression(Impression("p", "m", served_at_ms, "fresh", [row])))


def test_an_impression_from_the_future_was_served_when_it_was_appended() -> None:
    assert admit_impression(impression()).served_at_ms == NOW_MS
    assert admit_impression(impression(NOW_MS + BELIEVED_AHEAD_MS + 1)).served_at_ms == NOW_MS


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (impression(-1), "bad-time"),
        (impression(10**17), "bad-time"),
        (impression(NOW_MS + MAX_AHEAD_MS + 1), "bad-time"),
        (impression(item_id="x" * 1_000), "bad-id"),
        (impression(item_id=""), "bad-id"),
        (Record(0, NOW_MS, b"", b"{"), "malformed"),
    ],
)
def test_an_impression_out_of_bounds_is_undeliverable(bad: Record, reason: str) -> None:
    with pytest.raises(Undeliverable) as caught:
        admit_impression(bad)

    assert caught.value.reason == reason
