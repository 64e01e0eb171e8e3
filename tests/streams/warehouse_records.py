"""Records for tests of the warehouse."""

from __future__ import annotations

from collections.abc import Iterable

from streams.event_log.protocol import Record
from streams.events import Event, encode_event

DAY_MS = 86_400_000
NOON_MS = 20_000 * DAY_MS + DAY_MS // 2
DAY = "2024-10-04"
"""The day of NOON_MS."""


def event(offset: int, member_id: str = "m") -> Event:
    return Event(f"e{offset}", "play", member_id, NOON_MS + offset, item_id=f"i{offset}")


def record(offset: int, timestamp_ms: int = NOON_MS, member_id: str = "m") -> Record:
    return Record(offset, timestamp_ms, member_id.encode(), encode_event(event(offset, member_id)))


def records(offsets: Iterable[int]) -> list[Record]:
    return [record(offset) for offset in offsets]
