"""Member events: what a member did with a title, as any producer may write it (JSON, UTF-8, one object a message).

Unknown fields are ignored, so that old readers survive new writers. `decode_event` is strict about what it does know:
a message that passes it can be folded; anything else raises `Undeliverable` with a reason code.
"""

from __future__ import annotations

import math
from typing import Final, Literal, get_args

import msgspec

from streams.errors import Undeliverable

EventType = Literal[
    "view",
    "click",
    "play",
    "progress",
    "complete",
    "skip",
    "rate",
    "like",
    "dislike",
    "list_add",
    "list_remove",
    "search",
]
EVENT_TYPES: Final[tuple[str, ...]] = get_args(EventType)

MAX_ID_BYTES: Final = 128
"""Ids are keys of every store; LMDB, the strictest, holds keys of 511 bytes, some of which are for suffixes."""

MAX_EVENT_BYTES: Final = 16 * 1024
MIN_STARS: Final = 0.5
MAX_STARS: Final = 5.0
MAX_CONTEXT_ENTRIES: Final = 32
MIN_EVENT_TIME_MS: Final = 0
MAX_EVENT_TIME_MS: Final = 4_102_444_800_000
"""2100-01-01. Later times are mistakes of unit (microseconds) or of clocks, and would pin every watermark."""

MAX_AHEAD_MS: Final = 86_400_000
"""How far an event may be ahead of the clock that receives or appends it; further is a wrong clock or unit."""

MAX_ROW_POSITION: Final = 2**31 - 1
"""Positions are 32-bit integers in every store that keeps them in a column."""


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One thing a member did.

    event_id: unique per event; a client's retry carries the same one. event_time_ms: when it happened (Unix, ms).
    item_id: the title; empty only for `search`. value: stars for `rate` (0.5-5), watched seconds for `progress`.
    page_id, row_id, position: where on which served page it happened, if it did.
    """

    event_id: str
    type: EventType
    member_id: str
    event_time_ms: int
    item_id: str = ""
    page_id: str | None = None
    row_id: str | None = None
    position: int | None = None
    value: float | None = None
    context: dict[str, str] = {}


_decoder = msgspec.json.Decoder(Event)
_encoder = msgspec.json.Encoder()


def encode_event(event: Event) -> bytes:
    """Return the wire form of an event."""
    return _encoder.encode(event)


def decode_event(raw: bytes) -> Event:
    """Return the event in a message, checked.

    Raises Undeliverable, with reason too-large, malformed, bad-id, bad-time or bad-value.
    """
    if len(raw) > MAX_EVENT_BYTES:
        raise Undeliverable("too-large", f"{len(raw)} bytes; an event may have {MAX_EVENT_BYTES}")
    try:
        event = _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Undeliverable("malformed", str(error)) from None
    check_event(event)
    return event


def check_event(event: Event) -> None:
    """Raise Undeliverable unless the values of a well-typed event are within their bounds."""
    for field, value in (("event_id", event.event_id), ("member_id", event.member_id)):
        if not is_valid_id(value):
            raise Undeliverable("bad-id", f"{field} must have 1 to {MAX_ID_BYTES} bytes and no control characters")
    if not (is_valid_id(event.item_id) or (event.type == "search" and not event.item_id)):
        raise Undeliverable("bad-id", f"item_id must have 1 to {MAX_ID_BYTES} bytes and no control characters")
    if not MIN_EVENT_TIME_MS <= event.event_time_ms < MAX_EVENT_TIME_MS:
        raise Undeliverable("bad-time", "event_time_ms must be Unix time in milliseconds, between 1970 and 2100")
    if event.value is not None and not (math.isfinite(event.value) and abs(event.value) <= 1e9):
        raise Undeliverable("bad-value", "value must be a finite number of at most 1e9 in size")
    if event.position is not None and not 0 <= event.position <= MAX_ROW_POSITION:
        raise Undeliverable("bad-value", f"position must be between 0 and {MAX_ROW_POSITION}")
    if event.type == "rate" and not (event.value is not None and MIN_STARS <= event.value <= MAX_STARS):
        raise Undeliverable("bad-value", f"value of a rate must be {MIN_STARS} to {MAX_STARS} stars")
    if len(event.context) > MAX_CONTEXT_ENTRIES:
        raise Undeliverable("bad-value", f"context may have {MAX_CONTEXT_ENTRIES} entries")


def is_valid_id(text: str) -> bool:
    """Return whether `text` may be an id: 1 to MAX_ID_BYTES bytes of UTF-8, without control characters."""
    return bool(text) and text.isprintable() and len(text) <= MAX_ID_BYTES and len(text.encode()) <= MAX_ID_BYTES
