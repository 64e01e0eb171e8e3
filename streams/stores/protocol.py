"""What every state store offers.

A state is an opaque value whose first 8 bytes are the log position it includes (big-endian, see streams.positions). A
write succeeds only if its position is higher than the stored one, so redelivery, restarts and zombie workers change
nothing. A value of exactly those 8 bytes is a tombstone: it reads as absent, still refuses older writes, and also
replaces a state of its own position (as in Cassandra, where a delete wins a tie), so that a state can be deleted as of
the last message it includes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

POSITION_BYTES = 8
_unpack_position = struct.Struct(">Q").unpack_from


class StateEntry(NamedTuple):
    """A state to write: its key and the value, position first."""

    key: bytes
    value: bytes


def position_of(value: bytes) -> int:
    """Return the position in the first 8 bytes of a state value."""
    return int.from_bytes(value[:POSITION_BYTES], "big")


def version_of(value: bytes | memoryview | None) -> int:
    """Return a number that every write of a state raises: twice its position, plus one for a tombstone; 0 for none.

    >>> version_of(None), version_of(tombstone(7) + b"state"), version_of(tombstone(7))
    (0, 14, 15)
    """
    if value is None:
        return 0
    position: int = _unpack_position(value)[0]  # reads a memoryview without making another
    return position * 2 + (len(value) == POSITION_BYTES)


def tombstone(position: int) -> bytes:
    """Return the value that deletes a state as of `position`."""
    return position.to_bytes(POSITION_BYTES, "big")


class StateStore(Protocol):
    """Versioned states by kind ("member", "title", …) and key. Thread-safe; several processes may hold one open.

    Every method raises TryAgain when the engine is away (deleted, locked, unreachable), SlowDown when it is full.
    """

    def get(self, kind: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values in the order of the keys, None where absent or deleted; one round trip."""
        ...

    def positions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return the position of each key's state (a tombstone's too), NOTHING where there never was one."""
        ...

    def versions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return `version_of` each key's state: unlike positions, they also differ where a state was deleted as of the
        last message it includes."""
        ...

    def put(self, kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        """Write each entry that is newer than what is stored (a higher position, or a tombstone for a state of the same
        one), each atomically; say which were written. Raises FixRequest for keys and values out of their bounds."""
        ...

    def scan(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of every state of a kind, tombstones left out, in any order.

        A state that is there from begin to end is yielded exactly once; one that is written meanwhile once, if at all.
        """
        ...

    def drop(self, kind: str, limit: int) -> int:
        """Delete up to `limit` states of a kind for good, tombstones included; return how many, 0 once there are none.

        For a kind that nobody reads or writes any more: a late write of an old state is not refused afterwards. Its
        name is not to be used again: an engine may refuse states of the positions that were dropped (Cassandra does).
        """
        ...

    def close(self) -> None:
        """Release files and connections."""
        ...


class HistoryRow(msgspec.Struct, frozen=True, gc=False):
    """One event in a member's durable history, identified by (member_id, position). page_id: of the served page that
    it happened on, if it says so (rows of former code do not)."""

    member_id: str
    position: int
    event_time_ms: int
    type: str
    item_id: str
    value: float | None = None
    page_id: str | None = None


class Profile(msgspec.Struct, frozen=True):
    """What is known of a member beside events; the newest event's context wins."""

    member_id: str
    country: str = ""
    device: str = ""
    first_seen_ms: int = 0
    last_seen_ms: int = 0


class DurableStore(StateStore, Protocol):
    """A state store that survives the hot one, with each member's profile and history by time."""

    def write(self, kind: str, entries: Sequence[StateEntry]) -> None:
        """As put, without saying which were written: an engine that need not know it is spared a read."""
        ...

    def append_history(self, rows: Sequence[HistoryRow]) -> None:
        """Add rows; one already there (same member, event time and position) stays as it is."""
        ...

    def history(self, member_id: str, limit: int) -> list[HistoryRow]:
        """Return the member's newest rows by event time, newest first."""
        ...

    def put_profiles(self, profiles: Sequence[Profile]) -> None:
        """Write profiles, keeping the earlier first_seen_ms and the later last_seen_ms of what is stored."""
        ...

    def profile(self, member_id: str) -> Profile | None:
        """Return a member's profile."""
        ...

    def member_ids(self, limit: int) -> list[str]:
        """Return up to `limit` ids of known members, the most recently seen first."""
        ...

    def forget(self, member_id: str) -> int:
        """Delete a member's history and profile; return how many rows there were."""
        ...
