"""A generated past: what members with tastes watched over the last weeks.

It has the structure that real viewing has and that models can learn: tastes by genre and in latent factors, activity
with a long tail, sessions in the evening, series watched in order and near neighbours watched next, titles that have
their week and are forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.catalogue import Title
from streams.events import EVENT_TYPES, Event, EventType
from streams.simulation.behaviour import UNKNOWN_DURATION_S, stars
from streams.simulation.catalogue import series_of
from streams.simulation.tastes import Member, Traits, World, logits, member_name

DAYS: Final = 60
PERIODS: Final = 12
"""Within a period of five days the same titles trend."""
TRENDING_SHARE: Final = 0.08
TRENDING_LOGITS: Final = 2.5
FOLLOW: Final = 0.4
"""How often the next title follows from the last one: the next of its series, or a near neighbour."""
NEIGHBOURS: Final = 4
EVENTS_PER_WATCH: Final = 2.55
"""Fewer than a watched title gives on average, so that enough of them are drawn; the oldest events are cut off."""
MAX_WATCHED_SHARE: Final = 0.5
"""Nobody watches more of the catalogue than that."""
SESSION_TITLES: Final = 2.0
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
_NEIGHBOUR_CHUNK: Final = 512

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Library:
    """A catalogue as arrays. vectors [T, FACTORS], appeals [T], trending logits [PERIODS, T], and for each title what
    is watched after it, best first [T, NEIGHBOURS] (-1 for none)."""

    titles: Sequence[Title]
    vectors: Floats
    appeals: Floats
    trending: Floats
    followers: Integers


def generate_history(
    rng: np.random.Generator,
    catalogue: Sequence[Title],
    members: int,
    events: int,
    end_ms: int,
    world: World | None = None,
) -> list[Event]:
    """Return `events` events of `members` members in the DAYS days before `end_ms`, ordered by time.

    Fewer when the catalogue is too small for so many. Members have the names and tastes that simulated members have in
    the same world. The same arguments and rng state give the same events. No members, titles or events: none.
    """
    if not (catalogue and members > 0 and events > 0):
        return []
    world = world or World()
    library = make_library(catalogue, world, rng)
    people = [world.member(member_name(index)) for index in range(members)]
    counts = _watch_counts(people, events, len(catalogue))
    made: list[Event] = []
    for person, count in zip(people, counts, strict=True):
        made += _member_history(rng, library, person, count, end_ms)
    made.sort(key=lambda event: event.event_time_ms)
    return made[-events:]


def make_library(catalogue: Sequence[Title], world: World, rng: np.random.Generator) -> Library:
    """Return a catalogue's arrays; `rng` draws which titles trend when."""
    traits = [world.traits(title.item_id, title.title, title.genres) for title in catalogue]
    vectors = np.array([t.vector for t in traits])
    trending = np.zeros((PERIODS, len(catalogue)))
    for period in range(PERIODS):
        hot = rng.random(len(catalogue)) < TRENDING_SHARE
        trending[period, hot] = TRENDING_LOGITS * rng.random(int(hot.sum()))
    return Library(catalogue, vectors, _appeals(traits), trending, _followers(catalogue, vectors))


def _appeals(traits: Sequence[Traits]) -> Floats:
    return np.array([t.appeal for t in traits])


def _followers(catalogue: Sequence[Title], vectors: Floats) -> Integers:
    """Return for each title the next one of its series, if any, and its nearest neighbours by cosine."""
    count = min(NEIGHBOURS, len(catalogue) - 1)
    followers = np.full((len(catalogue), NEIGHBOURS + 1), -1, np.int64)
    for first in range(0, len(catalogue), _NEIGHBOUR_CHUNK):
        near = vectors[first : first + _NEIGHBOUR_CHUNK] @ vectors.T
        rows = np.arange(len(near))
        near[rows, first + rows] = -np.inf
        best = np.argpartition(-near, max(count - 1, 0), axis=1)[:, :count]
        order = np.argsort(-near[rows[:, None], best], axis=1)
        followers[first + rows, 1 : count + 1] = best[rows[:, None], order]
    numbered = {series_of(title.title): index for index, title in enumerate(catalogue)}
    for (name, number), index in numbered.items():
        followers[index, 0] = numbered.get((name, number + 1), -1)
    return followers


def _watch_counts(people: Sequence[Member], events: int, titles: int) -> list[int]:
    """Return how many titles each member watches, by activity, at least enough for `events` events."""
    activity = np.array([person.activity for person in people])
    watches = events / EVENTS_PER_WATCH + 4 * len(people)
    counts = np.ceil(watches * activity / activity.sum()).astype(int)
    return np.clip(counts, 1, max(1, int(MAX_WATCHED_SHARE * titles))).tolist()  # type: ignore[no-any-return]


def _member_history(rng: np.random.Generator, library: Library, person: Member, count: int, end_ms: int) -> list[Event]:
    times = _watch_times(rng, count, end_ms)
    wanted = logits(person.tastes, library.vectors, library.appeals)
    chosen = _choose(rng, library, wanted, _periods(times, end_ms))
    attraction = 1.0 / (1.0 + np.exp(-wanted))
    writer = _Writer(person, rng)
    for time_ms, index in zip(times.tolist(), chosen, strict=True):
        writer.watch(library.titles[index], float(attraction[index]), time_ms, end_ms)
    return writer.events


def _watch_times(rng: np.random.Generator, count: int, end_ms: int) -> Integers:
    """Return when a member starts watching `count` titles: in sessions, most of them in the evening."""
    sessions = max(1, round(count / SESSION_TITLES))
    days = rng.integers(0, DAYS, sessions)
    hours = np.clip(rng.normal(19.5, 3.0, sessions), 0.0, 23.5)
    midnight_ms = end_ms - end_ms % DAY_MS - (DAYS - 1) * DAY_MS
    starts = midnight_ms + days * DAY_MS + (hours * HOUR_MS).astype(np.int64)
    times = rng.choice(starts, count) + rng.integers(0, 150, count) * 60_000
    times = np.where(times >= end_ms - HOUR_MS, times - DAY_MS, times)
    return np.sort(times).astype(np.int64)


def _periods(times: Integers, end_ms: int) -> Integers:
    age_share = (end_ms - times) / (DAYS * DAY_MS)
    return np.clip((PERIODS * (1.0 - age_share)).astype(np.int64), 0, PERIODS - 1)


def _choose(rng: np.random.Generator, library: Library, wanted: Floats, periods: Integers) -> list[int]:
    """Return the titles a member watches, in order, none twice: what follows the last one, or what attracts them.

    Drawing without replacement by attraction is taking the highest of logits plus Gumbel noise (Gumbel-top-k, Kool,
    van Hoof & Welling 2019).
    """
    follows = rng.random(len(periods)) < FOLLOW
    watched: set[int] = set()
    chosen: list[int] = []
    order: list[int] = []
    current = -1
    for follow, period in zip(follows.tolist(), periods.tolist(), strict=True):
        if period != current:
            noisy = wanted + library.trending[period] + rng.gumbel(size=len(wanted))
            current, order = period, _top(noisy, len(periods) + 1)
        candidates = library.followers[chosen[-1]].tolist() if follow and chosen else []
        pick = next((c for c in (*candidates, *order) if c >= 0 and c not in watched), None)
        if pick is None:
            pick = next(index for index in range(len(wanted)) if index not in watched)
        watched.add(pick)
        chosen.append(pick)
    return chosen


def _top(values: Floats, count: int) -> list[int]:
    """Return the indices of the `count` highest values, highest first."""
    count = min(count, len(values))
    best = np.argpartition(-values, count - 1)[:count]
    indices: list[int] = best[np.argsort(-values[best], kind="stable")].tolist()
    return indices


class _Writer:
    """Writes the events of one member's watching."""

    def __init__(self, person: Member, rng: np.random.Generator) -> None:
        self._person = person
        self._rng = rng
        self._context = {"country": person.country, "device": person.device}
        self.events: list[Event] = []

    def watch(self, title: Title, wanted: float, start_ms: int, end_ms: int) -> None:
        """Add what a member does with one title, from `start_ms` on, and not later than `end_ms`."""
        looked, finished, judged = self._rng.random(3).tolist()
        length_ms = 1000 * (title.duration_s or UNKNOWN_DURATION_S)
        if looked < 0.3:
            self._add("click", title, start_ms - 5_000)
        self._add("play", title, start_ms)
        if finished < 0.35 + 0.6 * wanted:
            stop_ms = start_ms + length_ms
            self._add("complete", title, min(stop_ms, end_ms))
        else:
            share = 0.05 + 0.9 * finished
            stop_ms = start_ms + int(share * length_ms)
            self._add("progress", title, min(stop_ms, end_ms), round(share * length_ms / 1000, 1))
        if judged < 0.22:
            self._add("rate", title, min(stop_ms + 20_000, end_ms), stars(wanted, self._rng))
        elif judged < 0.22 + 0.15 * wanted:
            self._add("like", title, min(stop_ms + 15_000, end_ms))
        elif judged > 0.96 + 0.04 * wanted:
            self._add("dislike", title, min(stop_ms + 15_000, end_ms))

    def _add(self, event_type: EventType, title: Title, time_ms: int, value: float | None = None) -> None:
        member_id = self._person.member_id
        event_id = f"h-{member_id}-{len(self.events)}"
        self.events.append(
            Event(event_id, event_type, member_id, time_ms, title.item_id, value=value, context=self._context)
        )


class HistoryArrays(NamedTuple):
    """Events as arrays of one length. member int32 and item int32 index `member_ids` and `item_ids`; type uint8 indexes
    EVENT_TYPES; time_ms int64; value float64 (nan for none)."""

    member_ids: list[str]
    item_ids: list[str]
    member: NDArray[np.int32]
    item: NDArray[np.int32]
    type: NDArray[np.uint8]
    time_ms: NDArray[np.int64]
    value: NDArray[np.float64]


def to_arrays(events: Sequence[Event]) -> HistoryArrays:
    """Return events as arrays; ids are listed in the order of their first event."""
    members: dict[str, int] = {}
    items: dict[str, int] = {}
    types = {event_type: index for index, event_type in enumerate(EVENT_TYPES)}
    return HistoryArrays(
        member=np.array([members.setdefault(e.member_id, len(members)) for e in events], np.int32),
        item=np.array([items.setdefault(e.item_id, len(items)) for e in events], np.int32),
        type=np.array([types[e.type] for e in events], np.uint8),
        time_ms=np.array([e.event_time_ms for e in events], np.int64),
        value=np.array([np.nan if e.value is None else e.value for e in events], np.float64),
        member_ids=list(members),
        item_ids=list(items),
    )
