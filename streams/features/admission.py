"""Admission: what of a topic's records goes into the folds, decided the same online and offline.

The decision rests on the record and the catalogue alone: a record knows a title if the title was live when the record
was appended, whenever the record is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from streams.catalogue import Title
from streams.errors import Undeliverable
from streams.event_log.protocol import Record
from streams.events import MAX_AHEAD_MS, MAX_EVENT_TIME_MS, MIN_EVENT_TIME_MS, Event, decode_event, is_valid_id
from streams.impressions import Impression, decode_impression

BELIEVED_AHEAD_MS: Final = 60_000
"""Clocks of honest clients run ahead by seconds. An event that claims to have happened later than this after it was
appended is taken to have happened when it was appended; else one wrong clock would end every window of its titles."""

UNKNOWN_TITLE: Final = "unknown-title"


class Admitted(NamedTuple):
    """An event that may be folded, and its title's genres (() for a search without a title)."""

    event: Event
    genres: tuple[str, ...]


def admit_event(record: Record, catalogue: Mapping[str, Title]) -> Admitted:
    """Return the event in a record of member-events. Raises Undeliverable: as decode_event, bad-time, unknown-title."""
    event = decode_event(record.value)
    time_ms = _time_ms("event_time_ms", event.event_time_ms, record)
    if time_ms != event.event_time_ms:
        event = msgspec.structs.replace(event, event_time_ms=time_ms)
    if not event.item_id:
        return Admitted(event, ())
    title = catalogue.get(event.item_id)
    if title is None or title.live_from_ms > record.timestamp_ms:
        raise Undeliverable(UNKNOWN_TITLE, f"{event.item_id} was not live when the event was appended")
    return Admitted(event, title.genres)


def admit_impression(record: Record) -> Impression:
    """Return the impression in a record. Raises Undeliverable (those of decode_impression, bad-time, bad-id)."""
    impression = decode_impression(record.value)
    if not MIN_EVENT_TIME_MS <= impression.served_at_ms < MAX_EVENT_TIME_MS:
        raise Undeliverable("bad-time", "served_at_ms must be Unix time in milliseconds, between 1970 and 2100")
    time_ms = _time_ms("served_at_ms", impression.served_at_ms, record)
    if time_ms != impression.served_at_ms:
        impression = msgspec.structs.replace(impression, served_at_ms=time_ms)
    if not all(is_valid_id(item.item_id) for row in impression.rows for item in row.items):
        raise Undeliverable("bad-id", "an item_id of the impression is not an id")
    return impression


def _time_ms(name: str, claimed_ms: int, record: Record) -> int:
    """Return when a record's event happened: as it claims, or when it was appended if the claim is further ahead than
    is believed. Raises Undeliverable (bad-time) for more than MAX_AHEAD_MS: its other values are not to be believed."""
    ahead_ms = claimed_ms - record.timestamp_ms
    if ahead_ms > MAX_AHEAD_MS:
        raise Undeliverable("bad-time", f"{name} is {ahead_ms} ms ahead of when it was appended")
    return record.timestamp_ms if ahead_ms > BELIEVED_AHEAD_MS else claimed_ms
