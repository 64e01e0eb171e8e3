"""Event types as small integers, so that a time and a type pack into one integer that sorts by time, then type."""

from __future__ import annotations

from typing import Final

from streams.events import EVENT_TYPES

TYPE_BITS: Final = 4
TYPE_MASK: Final = (1 << TYPE_BITS) - 1

TYPE_CODES: Final[dict[str, int]] = {name: code for code, name in enumerate(EVENT_TYPES)}
"""Codes in the order of EVENT_TYPES; they are stored, so types are only ever added at the end."""

TYPE_NAMES: Final = EVENT_TYPES

ALL_TYPES: Final = frozenset(EVENT_TYPES)
"""For aggregations that take in every event."""


def pack_time(event_time_ms: int, event_type: str) -> int:
    """Return one integer that orders by event time, then by type in the order in which a member goes through them."""
    return event_time_ms << TYPE_BITS | TYPE_CODES[event_type]


def unpack_time(code: int) -> tuple[int, str]:
    """Return (event time in ms, event type).

    >>> unpack_time(pack_time(1_000, "play"))
    (1000, 'play')
    """
    return code >> TYPE_BITS, TYPE_NAMES[code & TYPE_MASK]
