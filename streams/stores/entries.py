"""What a state store takes, and what it takes for newer: the same for every engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from streams.errors import FixRequest
from streams.stores.protocol import POSITION_BYTES, StateEntry

MAX_KEY_BYTES: Final = 511
"""LMDB's limit; the other engines keep to it, so that what one engine takes every engine takes."""

MAX_VALUE_BYTES: Final = 16 << 20
"""A state is read whole for one page; one of this size would already take longer to read than a page may take."""

_SIGN_BIT: Final = 0x80


def check_entries(entries: Sequence[StateEntry]) -> None:
    """Raise FixRequest unless keys and values are within their bounds and positions fit a signed 64-bit integer."""
    for key, value in entries:
        if not 1 <= len(key) <= MAX_KEY_BYTES:
            raise FixRequest("key", f"keys have 1 to {MAX_KEY_BYTES} bytes, this one has {len(key)}")
        if not POSITION_BYTES <= len(value) <= MAX_VALUE_BYTES:
            bounds = f"{POSITION_BYTES} to {MAX_VALUE_BYTES} bytes"
            raise FixRequest("value", f"values have {bounds}, this one has {len(value)}")
        if value[0] & _SIGN_BIT:
            raise FixRequest("value", "its position (the first 8 bytes, big-endian) must be lower than 2**63")


def is_newer(position: int, is_tombstone: bool, stored_position: int, is_stored_live: bool) -> bool:
    """Return whether a value replaces the stored one: it has a higher position, or deletes a state of the same one.

    >>> is_newer(7, False, 7, True), is_newer(7, True, 7, True), is_newer(7, True, 7, False)
    (False, True, False)
    """
    return position > stored_position or (position == stored_position and is_tombstone and is_stored_live)
