"""Events for tests: small ids and times that collide often, with bounds of time and value among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random
from typing import get_args

import msgspec
from hypothesis import strategies as st

from streams.catalogue import Catalogue, Title
from streams.event_log.protocol import Batch, Record
from streams.events import EVENT_TYPES, MAX_EVENT_TIME_MS, Event, EventType, encode_event
from streams.features.replay import PartitionStates
from streams.topics import MEMBER_EVENTS

NOW_MS = 1_700_000_000_000
DAY_MS = 86_400_000
EPOCH = 1
FIRST = EPOCH << 48

TITLES = tuple(
    Title(f"t{number}", f"Title {number}", 2000 + number, genres)
    for number, genres in enumerate(
        [("Drama",), ("Comedy", "Romance"), ("Action", "Comedy", "Crime"), (), ("Drama", "Crime")]
    )
)
CATALOGUE = Catalogue(TITLES)

times_ms = st.one_of(
    st.integers(0, 60_000).map(lambda back_ms: NOW_MS - back_ms),
    st.integers(0, 40).map(lambda days: NOW_MS - days * DAY_MS),
    st.integers(NOW_MS - 400 * DAY_MS, NOW_MS),
    st.integers(0, MAX_EVENT_TIME_MS - 1),
    st.sampled_from([0, 1, MAX_EVENT_TIME_MS - 1]),
)
values = st.one_of(
    st.none(),
    st.sampled_from([0.5, 2.5, 3.0, 5.0]),
    st.floats(-1e9, 1e9, allow_nan=False),
)


def events(members: int = 1) -> st.SearchStrategy[Event]:
    """Events of a few members, some with the same id."""
    return st.builds(
        Event,
        event_id=st.integers(0, 30).map(lambda number: f"e{number}"),
        type=st.sampled_from(EVENT_TYPES),
        member_id=st.integers(0, members - 1).map(lambda number: f"m{number}"),
        event_time_ms=times_ms,
        item_id=st.sampled_from([title.item_id for title in TITLES]),
        page_id=st.sampled_from([None, "p1"]),
        value=values,
        context=st.sampled_from([{}, {"country": "SE"}, {"country": "FR", "device": "tv"}]),
    ).map(with_stars)


def with_stars(event: Event) -> Event:
    """Return the event; a rating with stars, as every decoded one has."""
    stars = event.value if event.value in (0.5, 1.0, 2.5, 3.0, 4.5, 5.0) else 4.0
    return msgspec.structs.replace(event, value=stars) if event.type == "rate" else event


def generated(count: int, members: int, seed: int = 1, duplicates: float = 0.05) -> list[Event]:
    """Return events in the order of arrival: mostly in time, some late, some sent twice."""
    rng = Random(seed)
    made: list[Event] = []
    for number in range(count):
        if made and rng.random() < duplicates:
            made.append(made[-rng.randrange(1, min(len(made), 20) + 1)])
            continue
        late_ms = rng.randrange(3 * DAY_MS) if rng.random() < 0.1 else 0
        made.append(
            Event(
                event_id=f"g{number}",
                type=rng.choice(get_args(EventType)),
                member_id=f"m{rng.randrange(members)}",
                event_time_ms=NOW_MS - 60 * DAY_MS + number * 600_000 - late_ms,
                item_id=rng.choice(TITLES).item_id,
                page_id=rng.choice([None, "p1"]),
                value=rng.choice([None, 1.0, 4.5]),
                context=rng.choice([{}, {"country": "SE", "device": "tv"}]),
            )
        )
    return [with_stars(event) for event in made]


def genres_of(event: Event) -> tuple[str, ...]:
    return CATALOGUE[event.item_id].genres if event.item_id else ()


def batches(stream: Sequence[Event], sizes: Iterable[int] = (), partition: int = 0) -> list[Batch]:
    """Return the events of one partition, cut into batches of the given sizes, the rest in one."""
    records = [Record(offset, NOW_MS + DAY_MS, b"", encode_event(event)) for offset, event in enumerate(stream)]
    cut: list[Batch] = []
    start = 0
    for size in (*sizes, len(records)):
        if records[start : start + size]:
            cut.append(Batch(MEMBER_EVENTS, partition, EPOCH, records[start : start + size]))
        start += size
    return cut


def folded(stream: Iterable[Event]) -> PartitionStates:
    """Return the states after the events, at consecutive positions."""
    states = PartitionStates()
    for position, event in enumerate(stream, FIRST):
        states.fold_event(event, genres_of(event), position)
    return states
