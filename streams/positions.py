"""Log positions: where in a partition's history a state stands.

A position packs the topic's epoch above the offset, so that positions of a recreated topic are higher than any of the
topic it replaces. It fits a signed 64-bit integer, because Cassandra's write timestamps are that.
"""

from __future__ import annotations

OFFSET_BITS = 48
"""2**48 messages a partition: nine years at a million a second."""

MAX_EPOCH = (1 << (63 - OFFSET_BITS)) - 1
NOTHING = 0
"""The position of a state that includes no message. Epochs start at 1, so every real position is higher."""


def pack_position(epoch: int, offset: int) -> int:
    """Return the position of the message at `offset` (from 0) of a topic in its `epoch` (from 1).

    >>> pack_position(1, 0) > NOTHING
    True
    >>> pack_position(2, 0) > pack_position(1, 2**48 - 1)
    True
    """
    if not 1 <= epoch <= MAX_EPOCH:
        raise ValueError(f"epoch {epoch} is outside 1..{MAX_EPOCH}")
    if not 0 <= offset < 1 << OFFSET_BITS:
        raise ValueError(f"offset {offset} is outside 0..2**{OFFSET_BITS}-1")
    return epoch << OFFSET_BITS | offset


def unpack_position(position: int) -> tuple[int, int]:
    """Return (epoch, offset) of a position."""
    return position >> OFFSET_BITS, position & ((1 << OFFSET_BITS) - 1)
