"""Mending single states that are damaged. States of another version of their features are built anew, all of them: see
streams.rebuild."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from streams.agents.state_stores import Rebuild, start_anew
from streams.catalogue import Title
from streams.events import EVENT_TYPES, Event
from streams.features.entity_state import EntityState
from streams.features.member import MEMBER
from streams.features.view import View
from streams.stores.protocol import DurableStore, HistoryRow

REBUILD_ROWS: Final = 10_000
"""The newest rows of a member's history that a state is rebuilt from: more than its bounds can hold, 0.1 s of work."""


def rebuild_from(durable: DurableStore, catalogue: Callable[[], Mapping[str, Title]]) -> Rebuild:
    """Return how states are rebuilt: a member's from the durable history, a title's from nothing.

    The history has no event ids, so a retry of an event from before counts again. Where that or the titles' past
    matters, `marquee rebuild` builds everything anew.
    """

    def rebuild(view: View, key: bytes, position: int) -> EntityState:
        if view is not MEMBER:
            return start_anew(view, key, position)
        return member_from(durable.history(key.decode(), REBUILD_ROWS), catalogue(), position)

    return rebuild


def member_from(rows: list[HistoryRow], catalogue: Mapping[str, Title], position: int) -> EntityState:
    """Return the member state of the history rows that are covered by `position`, at that position."""
    state = MEMBER.initialize()
    for row in sorted(rows, key=lambda row: row.position):
        title = catalogue.get(row.item_id)
        if row.position <= position and row.type in EVENT_TYPES:
            MEMBER.fold(state, event_of(row), row.position, title.genres if title else ())
    state.position = position
    return state


def event_of(row: HistoryRow) -> Event:
    """Return the event that a history row was made of, as far as the row tells."""
    return Event(
        event_id=f"history-{row.position}",
        type=row.type,  # type: ignore[arg-type]  # checked by the caller: types may have been taken away since
        member_id=row.member_id,
        event_time_ms=row.event_time_ms,
        item_id=row.item_id,
        value=row.value,
    )
