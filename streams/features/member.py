"""The member view: what one member did, and typed readers of it."""

from __future__ import annotations

from typing import Final

from streams.events import EVENT_TYPES
from streams.features.affinity import Affinity
from streams.features.entity_state import EntityState
from streams.features.history import History, HistoryEntry, newest_entries
from streams.features.latest_by_title import LatestByTitle
from streams.features.recency import Recency
from streams.features.recent_events import RecentEvents
from streams.features.seen_titles import Seen, SeenTitles
from streams.features.session import Session
from streams.features.view import View
from streams.features.windowed_count import DAY_MS, WindowedCount
from streams.topics import MEMBER_EVENTS

HISTORY_BOUND: Final = 128
"""Twice the longest history that a model is likely to read; a state with it stays under 4 kB."""

SEEN_BOUND: Final = 4096
"""More titles than all but a few members ever see; 48 kB."""

IN_PROGRESS_BOUND: Final = 20
"""Titles in a `continue watching` row."""

STATUS_BOUND: Final = 64
"""Titles whose progress or completion is remembered: the row's, and those lately completed."""

OPINIONS_BOUND: Final = 256
MY_LIST_BOUND: Final = 256

RECENT_EVENTS_BOUND: Final = 256
"""Clients retry within seconds to minutes; in that time no member makes so many events."""

AFFINITY_HALF_LIFE_MS: Final = 30 * DAY_MS
SESSION_GAP_MS: Final = 30 * 60_000
"""Half an hour without an event ends a session, as web analytics has it."""

TTL_MS: Final = 10 * 365 * DAY_MS
"""Whoever comes back after ten years is a new member."""

_HISTORY = History(bound=HISTORY_BOUND)
_SEEN = Seen(counted=("play", "complete", "progress", "rate", "skip", "like", "dislike"), bound=SEEN_BOUND)
_STATUS = LatestByTitle(among=("progress", "complete"), bound=STATUS_BOUND)
_OPINIONS = LatestByTitle(among=("like", "dislike"), bound=OPINIONS_BOUND)
_MY_LIST = LatestByTitle(among=("list_add", "list_remove"), bound=MY_LIST_BOUND)

MEMBER: Final = View(
    name="member",
    topic=MEMBER_EVENTS,
    aggregations={
        "recent_events": RecentEvents(bound=RECENT_EVENTS_BOUND),
        "history": _HISTORY,
        "count": WindowedCount(counted=EVENT_TYPES, by_type=True),
        "affinity": Affinity(half_life_ms=AFFINITY_HALF_LIFE_MS),
        "seen": _SEEN,
        "status": _STATUS,
        "opinions": _OPINIONS,
        "my_list": _MY_LIST,
    },
    derived=(Recency(), Session(gap_ms=SESSION_GAP_MS)),
    distinct="recent_events",
    ttl_ms=TTL_MS,
)


def member_key(member_id: str) -> bytes:
    """Return the key of a member's state."""
    return member_id.encode()


def history(state: EntityState, limit: int = HISTORY_BOUND) -> list[HistoryEntry]:
    """Return the member's newest `limit` events, newest first; a model that reads fewer asks for fewer."""
    return newest_entries(state.parts[MEMBER.slots["history"]], limit)


def seen(state: EntityState) -> SeenTitles:
    """Return the titles that the member has played, finished, rated, skipped, liked or disliked."""
    return _SEEN.result(state.parts[MEMBER.slots["seen"]], 0)[0]


def in_progress(state: EntityState) -> list[tuple[str, int, float]]:
    """Return (item id, event time in ms, watched seconds) of titles begun and not completed, newest first."""
    latest = _STATUS.result(state.parts[MEMBER.slots["status"]], 0)
    begun = [(entry.item_id, entry.event_time_ms, entry.value) for entry in latest if entry.type == "progress"]
    return begun[:IN_PROGRESS_BOUND]


def disliked(state: EntityState) -> list[str]:
    """Return the titles whose latest opinion is a dislike, newest first."""
    latest = _OPINIONS.result(state.parts[MEMBER.slots["opinions"]], 0)
    return [entry.item_id for entry in latest if entry.type == "dislike"]


def my_list(state: EntityState) -> list[str]:
    """Return the titles on the member's list, the last added first."""
    latest = _MY_LIST.result(state.parts[MEMBER.slots["my_list"]], 0)
    return [entry.item_id for entry in latest if entry.type == "list_add"]
