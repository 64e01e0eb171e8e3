"""The history: newest first, whatever order events arrive in, and bounded."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from streams.events import Event
from streams.features.history import History, HistoryEntry
from tests.streams.features.events import NOW_MS, events

HISTORY = History(bound=5)


def event(event_type: str, item_id: str, time_ms: int, value: float | None = None) -> Event:
    return Event("e", event_type, "m", time_ms, item_id, value=value)  # type: ignore[arg-type]


def entries(history: History, *stream: Event) -> list[HistoryEntry]:
    state = history.initialize()
    for one in stream:
        history.update(state, one, ())
    return history.result(state, NOW_MS)


def test_entries_come_newest_first_with_type_time_and_value() -> None:
    assert entries(HISTORY, event("play", "a", 1), event("rate", "b", 2, 4.5)) == [
        HistoryEntry("b", "rate", 2, 4.5),
        HistoryEntry("a", "play", 1, None),
    ]


def test_a_late_event_is_put_where_it_belongs() -> None:
    found = entries(HISTORY, event("play", "a", 1), event("play", "c", 9), event("play", "b", 5))

    assert [entry.item_id for entry in found] == ["c", "b", "a"]


def test_at_the_bound_the_oldest_goes() -> None:
    found = entries(HISTORY, *(event("play", f"t{number}", number) for number in range(9)))

    assert [entry.item_id for entry in found] == ["t8", "t7", "t6", "t5", "t4"]


def test_an_event_older_than_a_full_history_is_not_taken_in() -> None:
    found = entries(HISTORY, *(event("play", f"t{number}", 10 + number) for number in range(5)), event("play", "x", 1))

    assert "x" not in [entry.item_id for entry in found]


def test_repeated_progress_of_one_title_takes_one_place() -> None:
    found = entries(HISTORY, event("play", "a", 1), *(event("progress", "a", 2 + n, 30.0 * n) for n in range(50)))

    assert found == [HistoryEntry("a", "progress", 51, 1470.0), HistoryEntry("a", "play", 1, None)]


def test_whole_numbers_are_kept_as_floats_like_those_from_the_wire() -> None:
    (entry,) = entries(HISTORY, event("rate", "a", 1, 4))

    assert isinstance(entry.value, float)


@given(st.lists(events().filter(lambda one: one.type != "progress"), max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(stream: list[Event], rng: Random) -> None:
    shuffled = list(stream)
    rng.shuffle(shuffled)

    assert entries(HISTORY, *stream) == entries(HISTORY, *shuffled)
