"""The embedded durable store: SQLite, shared by every process of one machine.

What it holds survives the death of any process. A loss of power may take the last writes, in order: the file then ends
earlier, the agents' marks in it, too, so they fold the rest again from the log, which is on disk. Waiting for the disk
here as well would cost every change of a homepage several disk syncs. Writers take turns; readers wait for nobody.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from streams.positions import NOTHING
from streams.stores.entries import check_entries, is_newer
from streams.stores.protocol import POSITION_BYTES, HistoryRow, Profile, StateEntry, position_of, version_of
from streams.stores.sqlite_connections import SqliteConnections

READ_TIMEOUT_MS: Final = 250
"""A read waits this long for a lock (SQLite needs one to recover its log): a homepage waits for it at worst."""

WRITE_TIMEOUT_MS: Final = 2_000
"""A write waits this long for other writers; a batch of thousands takes a tenth of that."""

KEYS_PER_STATEMENT: Final = 500
"""SQLite takes 999 parameters in its oldest builds."""

SCAN_CHUNK: Final = 500
"""States read at once in a scan; between chunks no lock is held and the log can be checkpointed."""

# A history row's identity is (member_id, position). A position names one record of the log, whose event time never
# changes, so the clustered key below holds that identity without an index of its own, which would double an insert.
_VERSION_1: Final = """
CREATE TABLE states (
    kind TEXT NOT NULL,
    key BLOB NOT NULL,
    position INTEGER NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (kind, key)
);
CREATE TABLE history (
    member_id TEXT NOT NULL,
    event_time_ms INTEGER NOT NULL,
    position INTEGER NOT NULL,
    type TEXT NOT NULL,
    item_id TEXT NOT NULL,
    value REAL,
    PRIMARY KEY (member_id, event_time_ms, position)
) WITHOUT ROWID;
CREATE TABLE profiles (
    member_id TEXT NOT NULL PRIMARY KEY,
    country TEXT NOT NULL,
    device TEXT NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX profiles_by_last_seen ON profiles (last_seen_ms)
"""
_VERSION_2: Final = "ALTER TABLE history ADD COLUMN page_id TEXT"
SCHEMA: Final = (_VERSION_1, _VERSION_2)
"""A file of an earlier version is brought up to date when it is opened. A version is never changed once released."""

_PUT: Final = """
INSERT INTO states (kind, key, position, value) VALUES (?, ?, ?, ?)
ON CONFLICT (kind, key) DO UPDATE SET position = excluded.position, value = excluded.value
WHERE excluded.position > position
    OR (excluded.position = position AND length(excluded.value) = 8 AND length(value) > 8)
"""

_APPEND_HISTORY: Final = """
INSERT INTO history (member_id, position, event_time_ms, type, item_id, value, page_id) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING
"""

_HISTORY: Final = """
SELECT member_id, position, event_time_ms, type, item_id, value, page_id FROM history
WHERE member_id = ? ORDER BY event_time_ms DESC, position DESC LIMIT ?
"""

_PUT_PROFILE: Final = """
INSERT INTO profiles (member_id, country, device, first_seen_ms, last_seen_ms) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (member_id) DO UPDATE SET
    country = CASE WHEN excluded.country != '' AND (country = '' OR excluded.last_seen_ms >= last_seen_ms)
        THEN excluded.country ELSE country END,
    device = CASE WHEN excluded.device != '' AND (device = '' OR excluded.last_seen_ms >= last_seen_ms)
        THEN excluded.device ELSE device END,
    first_seen_ms = min(first_seen_ms, excluded.first_seen_ms),
    last_seen_ms = max(last_seen_ms, excluded.last_seen_ms)
"""


class SqliteDurableStore:
    """A DurableStore in one SQLite file. Every call may raise TryAgain; writes raise SlowDown when the disk is full."""

    def __init__(
        self,
        path: Path,
        *,
        read_timeout_ms: int = READ_TIMEOUT_MS,
        write_timeout_ms: int = WRITE_TIMEOUT_MS,
    ) -> None:
        self._connections = SqliteConnections(
            path,
            SCHEMA,
            read_timeout_ms=read_timeout_ms,
            write_timeout_ms=write_timeout_ms,
        )

    def get(self, kind: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values in the order of the keys, None where absent or deleted."""
        with self._connections.reading() as connection:
            found = _select(connection, "value", kind, keys)
        return [_live(*found.get(key, (None,))) for key in keys]

    def positions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return the position of each key's state (a tombstone's too), NOTHING where there never was one."""
        with self._connections.reading() as connection:
            found = _select(connection, "position", kind, keys)
        return [found.get(key, (NOTHING,))[0] for key in keys]

    def versions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return `version_of` each key's state."""
        with self._connections.reading() as connection:
            found = _select(connection, f"substr(value, 1, {POSITION_BYTES + 1})", kind, keys)
        return [version_of(*found.get(key, (None,))) for key in keys]

    def put(self, kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        """Write each entry that is newer than what is stored, all in one transaction."""
        check_entries(entries)
        if not entries:
            return []
        with self._connections.writing() as connection:
            keys = [key for key, _ in entries]
            stored = _select(connection, "position, length(value)", kind, keys)
            written = [_advance(stored, StateEntry(key, value)) for key, value in entries]
            rows = (
                (kind, key, position_of(value), value)
                for (key, value), newer in zip(entries, written, strict=True)
                if newer
            )
            connection.executemany(_PUT, rows)
        return written

    def write(self, kind: str, entries: Sequence[StateEntry]) -> None:
        """As put, without saying which were written."""
        self.put(kind, entries)

    def scan(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of every state of a kind in key order; each chunk of SCAN_CHUNK is of one moment."""
        after = b""
        while chunk := self._chunk(kind, after):
            yield from chunk
            after = chunk[-1][0]

    def drop(self, kind: str, limit: int) -> int:
        """Delete up to `limit` states of a kind for good; return how many."""
        query = "DELETE FROM states WHERE rowid IN (SELECT rowid FROM states WHERE kind = ? LIMIT ?)"
        with self._connections.writing() as connection:
            return connection.execute(query, (kind, max(limit, 0))).rowcount

    def append_history(self, rows: Sequence[HistoryRow]) -> None:
        """Add rows; one already there (same member, event time and position) stays as it is."""
        if rows:
            tuples = sorted(map(msgspec.structs.astuple, rows), key=_member_and_position)  # neighbours share pages
            with self._connections.writing() as connection:
                connection.executemany(_APPEND_HISTORY, tuples)

    def history(self, member_id: str, limit: int) -> list[HistoryRow]:
        """Return the member's newest rows by event time, newest first."""
        with self._connections.reading() as connection:
            return [HistoryRow(*row) for row in connection.execute(_HISTORY, (member_id, max(limit, 0)))]

    def put_profiles(self, profiles: Sequence[Profile]) -> None:
        """Write profiles, keeping the earlier first_seen_ms and the later last_seen_ms of what is stored.

        A country or device replaces a stored one unless it is empty or was seen earlier.
        """
        if profiles:
            with self._connections.writing() as connection:
                connection.executemany(_PUT_PROFILE, map(msgspec.structs.astuple, profiles))

    def profile(self, member_id: str) -> Profile | None:
        """Return a member's profile, None for one never seen."""
        with self._connections.reading() as connection:
            row = connection.execute("SELECT * FROM profiles WHERE member_id = ?", (member_id,)).fetchone()
        return Profile(*row) if row else None

    def member_ids(self, limit: int) -> list[str]:
        """Return up to `limit` ids of known members, the most recently seen first."""
        query = "SELECT member_id FROM profiles ORDER BY last_seen_ms DESC, member_id DESC LIMIT ?"
        with self._connections.reading() as connection:
            return [row[0] for row in connection.execute(query, (max(limit, 0),))]

    def forget(self, member_id: str) -> int:
        """Delete a member's history and profile; return how many rows there were."""
        with self._connections.writing() as connection:
            rows = connection.execute("DELETE FROM history WHERE member_id = ?", (member_id,)).rowcount
            return rows + connection.execute("DELETE FROM profiles WHERE member_id = ?", (member_id,)).rowcount

    def close(self) -> None:
        """Close the file."""
        self._connections.close()

    def _chunk(self, kind: str, after: bytes) -> list[tuple[bytes, bytes]]:
        query = "SELECT key, value FROM states WHERE kind = ? AND key > ? AND length(value) > ? ORDER BY key LIMIT ?"
        with self._connections.reading() as connection:
            return connection.execute(query, (kind, after, POSITION_BYTES, SCAN_CHUNK)).fetchall()


def _select(
    connection: sqlite3.Connection, columns: str, kind: str, keys: Sequence[bytes]
) -> dict[bytes, tuple[Any, ...]]:
    """Return columns of the states that exist, by key."""
    found: dict[bytes, tuple[Any, ...]] = {}
    for start in range(0, len(keys), KEYS_PER_STATEMENT):
        some = keys[start : start + KEYS_PER_STATEMENT]
        marks = ",".join("?" * len(some))
        query = f"SELECT key, {columns} FROM states WHERE kind = ? AND key IN ({marks})"  # noqa: S608 - no input in it
        found.update((row[0], row[1:]) for row in connection.execute(query, (kind, *some)))
    return found


def _advance(stored: dict[bytes, tuple[Any, ...]], entry: StateEntry) -> bool:
    """Note a write in what is stored (position and size by key) if it is newer; return whether it is."""
    position, size = position_of(entry.value), len(entry.value)
    stored_position, stored_size = stored.get(entry.key, (NOTHING, 0))
    newer = is_newer(position, size == POSITION_BYTES, stored_position, stored_size > POSITION_BYTES)
    if newer:
        stored[entry.key] = (position, size)
    return newer


def _live(value: bytes | None) -> bytes | None:
    return value if value is not None and len(value) > POSITION_BYTES else None


def _member_and_position(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return row[:2]
