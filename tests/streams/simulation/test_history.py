from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest

from streams.catalogue import Title
from streams.events import EVENT_TYPES, Event, check_event
from streams.simulation.catalogue import generate_catalogue, series_of
from streams.simulation.generated import generate_dataset
from streams.simulation.history import DAY_MS, DAYS, generate_history, to_arrays

END_MS = 1_700_000_000_000


def history(
    seed: int = 1, titles: int = 400, members: int = 40, events: int = 3_000
) -> tuple[list[Title], list[Event]]:
    rng = np.random.default_rng(seed)
    catalogue = generate_catalogue(rng, titles)
    return catalogue, generate_history(rng, catalogue, members, events, END_MS)


CATALOGUE, EVENTS = history()


def test_the_same_seed_gives_the_same_past() -> None:
    assert history()[1] == EVENTS
    assert history(seed=2)[1] != EVENTS


def test_events_are_valid_ordered_and_within_the_last_sixty_days() -> None:
    times = [event.event_time_ms for event in EVENTS]
    assert times == sorted(times)
    assert END_MS - (DAYS + 2) * DAY_MS <= times[0] < times[-1] <= END_MS
    assert len({event.event_id for event in EVENTS}) == len(EVENTS) == 3_000
    for event in EVENTS:
        check_event(event)


def test_every_member_has_a_past_and_activity_has_a_long_tail() -> None:
    counts = sorted(Counter(event.member_id for event in EVENTS).values())
    assert len(counts) >= 38
    assert counts[-1] > 2 * counts[len(counts) // 2]


def test_nobody_plays_a_title_twice() -> None:
    plays = Counter((event.member_id, event.item_id) for event in EVENTS if event.type == "play")
    assert max(plays.values()) == 1


def test_the_next_title_of_a_series_often_follows() -> None:
    """What a sequence model is there to find: far more often than by chance."""
    names = {title.item_id: series_of(title.title) for title in CATALOGUE}
    by_member: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for event in EVENTS:
        if event.type == "play":
            by_member[event.member_id].append(names[event.item_id])
    known = set(names.values())
    steps = [(a, b) for watched in by_member.values() for a, b in pairwise(watched)]
    could = [(a, b) for a, b in steps if (a[0], a[1] + 1) in known]
    follow = sum(b == (a[0], a[1] + 1) for a, b in could)
    assert follow / len(could) > 0.2


def test_titles_have_their_time() -> None:
    periods = np.array_split(np.array([event.item_id for event in EVENTS if event.type == "play"]), 6)
    tops = [{item for item, _ in Counter(part.tolist()).most_common(10)} for part in periods]
    assert len(tops[0] & tops[-1]) < 8


@pytest.mark.parametrize(
    ("titles", "members", "events"), [(400, 0, 10), (400, 10, 0), (1, 3, 10), (2, 3, 10), (30, 100, 500)]
)
def test_small_pasts_are_pasts_too(titles: int, members: int, events: int) -> None:
    made = history(titles=titles, members=members, events=events)[1]
    assert len(made) <= events
    assert bool(made) == (members > 0 and events > 0)


def test_no_titles_no_past() -> None:
    assert generate_history(np.random.default_rng(1), [], 5, 100, END_MS) == []


def test_arrays_say_the_same_as_the_events() -> None:
    arrays = to_arrays(EVENTS)
    for index in range(0, len(EVENTS), 97):
        event = EVENTS[index]
        assert arrays.member_ids[arrays.member[index]] == event.member_id
        assert arrays.item_ids[arrays.item[index]] == event.item_id
        assert EVENT_TYPES[arrays.type[index]] == event.type
        assert arrays.time_ms[index] == event.event_time_ms
        assert np.isnan(arrays.value[index]) if event.value is None else arrays.value[index] == event.value


def test_a_generated_data_set_is_known_by_its_arguments() -> None:
    first = generate_dataset(titles=100, members=5, events=100)
    assert first == generate_dataset(titles=100, members=5, events=100)
    assert first.address != generate_dataset(titles=100, members=5, events=101).address
