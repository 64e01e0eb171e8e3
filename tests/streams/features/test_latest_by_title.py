"""The latest event by title: in progress, disliked, on the list."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from streams.events import Event
from streams.features.latest_by_title import LatestByTitle, LatestEntry
from streams.features.member import MEMBER, disliked, in_progress, my_list
from streams.features.replay import PartitionStates
from tests.streams.features.events import FIRST, events

STATUS = LatestByTitle(among=("progress", "complete"), bound=3)


def latest(*stream: Event) -> list[LatestEntry]:
    state = STATUS.initialize()
    for event in stream:
        if event.type in STATUS.types:
            STATUS.update(state, event, ())
    return STATUS.result(state, 0)


def event(event_type: str, item_id: str, time_ms: int, value: float | None = None) -> Event:
    return Event(f"{event_type}-{item_id}-{time_ms}", event_type, "m", time_ms, item_id, value=value)  # type: ignore[arg-type]


def test_the_latest_event_of_each_title_comes_newest_first() -> None:
    found = latest(event("progress", "a", 1, 30), event("progress", "b", 2, 60), event("complete", "a", 3))

    assert found == [LatestEntry("a", "complete", 3, 0.0), LatestEntry("b", "progress", 2, 60.0)]


def test_a_late_progress_does_not_bring_a_completed_title_back() -> None:
    assert latest(event("complete", "a", 3), event("progress", "a", 2, 10)) == [LatestEntry("a", "complete", 3, 0.0)]


@given(st.lists(events(), max_size=25), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(stream: list[Event], rng: Random) -> None:
    shuffled = list(stream)
    rng.shuffle(shuffled)

    assert latest(*stream) == latest(*shuffled)


def member_after(*stream: Event) -> PartitionStates:
    states = PartitionStates()
    for position, one in enumerate(stream, FIRST):
        states.fold_event(one, (), position)
    return states


def test_a_member_has_in_progress_what_was_begun_and_not_completed() -> None:
    states = member_after(
        event("progress", "a", 1, 30), event("progress", "b", 2, 45), event("complete", "a", 3), event("play", "c", 4)
    )

    assert in_progress(states.members["m"]) == [("b", 2, 45.0)]


def test_opinions_and_the_list_follow_the_latest_word() -> None:
    states = member_after(
        event("dislike", "a", 1),
        event("like", "b", 2),
        event("dislike", "b", 3),
        event("like", "a", 4),
        event("list_add", "c", 5),
        event("list_add", "d", 6),
        event("list_remove", "c", 7),
    )
    member = states.members["m"]

    assert disliked(member) == ["b"]
    assert my_list(member) == ["d"]
    assert in_progress(MEMBER.initialize()) == []
