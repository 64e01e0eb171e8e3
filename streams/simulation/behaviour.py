"""What a member does on a page they are served: the events of one visit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np

from streams.events import Event, EventType
from streams.simulation.click_model import ClickModel, Look
from streams.simulation.tastes import Member, World, attraction

MAX_PLAYS: Final = 2
"""Nobody watches more than that in one visit."""
MAX_VIEWS: Final = 20
"""Views reported of one page: what was looked at first."""
MAX_REMEMBERED: Final = 2_048
"""Watched titles that a member remembers; the oldest are forgotten."""
WATCHED_FACTOR: Final = 0.04
"""How much of its attraction a title keeps that the member has watched to its end."""
UNKNOWN_DURATION_S: Final = 5_400
STEP_MS: Final = 20
"""Between two things a member does on a page: enough to order them, while a whole visit stays within a second or so, so
that no event is far ahead of the clock."""


class SeenTitle(msgspec.Struct, frozen=True):
    """A title as a page shows it: all that a member knows of it."""

    item_id: str
    title: str
    genres: tuple[str, ...] = ()


class SeenRow(msgspec.Struct, frozen=True):
    """A row as a page shows it."""

    row_id: str
    kind: str
    items: list[SeenTitle]


class SeenHead(msgspec.Struct, frozen=True):
    """How the page was served."""

    page_id: str
    step: str
    cache: str = ""


class SeenPage(msgspec.Struct, frozen=True):
    """An answer of GET /homepage, as far as a member sees it."""

    served: SeenHead
    rows: list[SeenRow]


class Memory:
    """What a member has watched, and what they stopped in the middle of."""

    def __init__(self) -> None:
        self._watched: dict[str, None] = {}
        self._started: dict[str, float] = {}

    def factor(self, item_id: str) -> float:
        """Return how much more or less a title attracts for what the member did with it before."""
        if item_id in self._watched:
            return WATCHED_FACTOR
        return 2.0 if item_id in self._started else 1.0

    def started_share(self, item_id: str) -> float:
        """Return how much of a title the member has watched."""
        return self._started.get(item_id, 0.0)

    def remember(self, item_id: str, share: float) -> None:
        """Keep that a member has watched a share of a title."""
        if share < 1.0:
            self._started[item_id] = share
        else:
            self._started.pop(item_id, None)
            self._watched[item_id] = None
        _forget_oldest(self._started)
        _forget_oldest(self._watched)


def _forget_oldest(known: dict[str, Any]) -> None:
    while len(known) > MAX_REMEMBERED:
        del known[next(iter(known))]


class Visit:
    """Collects the events of one visit, each with an id derived from the page's."""

    def __init__(self, member: Member, page_id: str, start_ms: int) -> None:
        self._member = member
        self._page_id = page_id
        self._now_ms = start_ms
        self.events: list[Event] = []

    def add(
        self, event_type: EventType, row: SeenRow, position: int, value: float | None = None, after_ms: int = STEP_MS
    ) -> None:
        """Add what the member did with the title at a position of a row, `after_ms` after the event before."""
        self._now_ms += after_ms
        self.events.append(
            Event(
                f"{self._page_id}-{len(self.events)}",
                event_type,
                self._member.member_id,
                self._now_ms,
                row.items[position].item_id,
                self._page_id,
                row.row_id,
                position,
                value,
                {"country": self._member.country, "device": self._member.device},
            )
        )


def visit(
    page: SeenPage,
    member: Member,
    memory: Memory,
    world: World,
    model: ClickModel,
    now_ms: int,
    rng: np.random.Generator,
) -> tuple[list[Event], list[Look]]:
    """Return what a member does on a page, in order, and what they looked at; `memory` then knows of it.

    Event times start at `now_ms`; watching takes no time here, so that events of a visit can be sent at once.
    """
    attractions = [[_attraction(item, member, memory, world) for item in row.items] for row in page.rows]
    looks = model.look(attractions, rng, member.patience)
    trip = Visit(member, page.served.page_id, now_ms)
    for look in [look for look in looks if look.examined][:MAX_VIEWS]:
        trip.add("view", page.rows[look.place.row], look.place.position)
    plays = 0
    for look in looks:
        if look.clicked and plays < MAX_PLAYS:
            row, position = page.rows[look.place.row], look.place.position
            plays += _open(trip, row, position, attractions[look.place.row][position], memory, rng)
    return trip.events, looks


def _attraction(item: SeenTitle, member: Member, memory: Memory, world: World) -> float:
    traits = world.traits(item.item_id, item.title, item.genres)
    return min(attraction(member, traits) * memory.factor(item.item_id), 0.98)


def _open(trip: Visit, row: SeenRow, position: int, wanted: float, memory: Memory, rng: np.random.Generator) -> int:
    """Add what follows a click; return how many titles were played (0 or 1)."""
    item = row.items[position]
    trip.add("click", row, position)
    if rng.random() > 0.5 + 0.45 * wanted:
        trip.add("list_add" if rng.random() < 0.3 * wanted else "skip", row, position)
        return 0
    trip.add("play", row, position)
    share = _watched_share(wanted, memory.started_share(item.item_id), rng)
    memory.remember(item.item_id, share)
    trip.add("progress", row, position, value=round(share * UNKNOWN_DURATION_S, 1))
    if share >= 1.0:
        trip.add("complete", row, position)
    elif share < 0.1:
        trip.add("skip", row, position)
    _judge(trip, row, position, wanted, rng)
    return 1


def _watched_share(wanted: float, before: float, rng: np.random.Generator) -> float:
    """Return how much of a title has been watched by the end of a visit: what is wanted is watched to its end."""
    if rng.random() < 0.25 + 0.65 * wanted:
        return 1.0
    return min(before + (1.0 - before) * float(rng.beta(1.0 + 3.0 * wanted, 2.0)), 0.95)


def _judge(trip: Visit, row: SeenRow, position: int, wanted: float, rng: np.random.Generator) -> None:
    """Add a rating, a like or a dislike, now and then."""
    draw = rng.random()
    if draw < 0.15:
        trip.add("rate", row, position, value=stars(wanted, rng))
    elif draw < 0.15 + 0.2 * wanted:
        trip.add("like", row, position)
    elif draw > 1.0 - 0.08 * (1.0 - wanted):
        trip.add("dislike", row, position)


def stars(wanted: float, rng: np.random.Generator) -> float:
    """Return half to five stars, in halves, for a title wanted that much."""
    return float(np.clip(round(2.0 * (1.8 + 3.0 * wanted + rng.normal(0.0, 0.6))) / 2.0, 0.5, 5.0))


def clicks_by_row(page: SeenPage, looks: Sequence[Look]) -> dict[str, tuple[int, int, int]]:
    """Return (titles shown, looked at, clicked) by row kind."""
    counts: dict[str, tuple[int, int, int]] = {}
    for look in looks:
        kind = page.rows[look.place.row].kind
        shown, examined, clicked = counts.get(kind, (0, 0, 0))
        counts[kind] = (shown + 1, examined + look.examined, clicked + look.clicked)
    return counts
