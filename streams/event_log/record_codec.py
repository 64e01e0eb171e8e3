"""How a record lies in the embedded log: timestamp (ms, 8 bytes), key length (4 bytes), key, value; big-endian."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from streams.errors import Corrupt
from streams.event_log.protocol import Message, Record

_HEADER: Final = struct.Struct(">QI")
_OFFSET: Final = struct.Struct(">Q")
HEADER_BYTES: Final = _HEADER.size

pack_header = _HEADER.pack
unpack_header = _HEADER.unpack_from
pack_offset = _OFFSET.pack


def unpack_offset(key: bytes) -> int:
    """Return the offset in a record's key in the store."""
    return int(_OFFSET.unpack(key)[0])


def pack_message(message: Message, timestamp_ms: int) -> bytes:
    """Return the stored form of a message appended at `timestamp_ms`."""
    key, value = message
    return pack_header(timestamp_ms, len(key)) + key + value


def timestamp_of(stored: bytes) -> int:
    """Return the append time (Unix, ms) of a stored record."""
    return int(unpack_header(stored)[0])


def unpack_records(items: Iterable[tuple[bytes, bytes]], max_bytes: int) -> list[Record]:
    """Return the records in (offset, stored) pairs, stopping after the one that passes `max_bytes`. Raises Corrupt."""
    records: list[Record] = []
    size = 0
    offset: bytes | None = None
    try:
        for offset, stored in items:
            timestamp_ms, key_bytes = unpack_header(stored)
            end = HEADER_BYTES + key_bytes
            records.append(Record(unpack_offset(offset), timestamp_ms, stored[HEADER_BYTES:end], stored[end:]))
            size += len(stored)
            if size >= max_bytes:
                break
    except struct.error:
        raise Corrupt(f"the record after {len(records)} others, at {offset!r}, is too short") from None
    return records
