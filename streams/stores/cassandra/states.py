"""States: one row each, written as of its position.

The position is the timestamp of both cells of a row, so that on every replica the higher one stays, in whatever order
writes arrive. A deleted state has its position and no value; on a tie a deleted cell wins, as the protocol asks for.

A value begins with its position. One that differs from the row's was deleted and has come back, from a replica that
missed the deletion until gc_grace was over: it reads as deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from streams.errors import FixRequest
from streams.positions import NOTHING
from streams.stores.cassandra.batching import Write, in_batches
from streams.stores.cassandra.connection import READ, WRITE, CassandraConnection, rows_of
from streams.stores.cassandra.errors import translated
from streams.stores.cassandra.schema import states_table
from streams.stores.entries import MAX_KEY_BYTES, check_entries
from streams.stores.protocol import POSITION_BYTES, StateEntry, position_of, tombstone, version_of

MAX_VALUE_BYTES: Final = 15 << 20
"""A node refuses mutations of 16 MB, unless it is told otherwise."""

KEYS_PER_READ: Final = 32
"""Keys in one request for positions. The coordinator asks the replicas of each; the driver is spared 31 requests."""

VALUES_PER_READ: Final = 8
"""Keys in one request for values, each of up to 25 kB."""

SCAN_PAGE: Final = 200
"""Rows in memory at once in a scan."""

_ROW_BYTES: Final = 80
"""Of a mutation, beside kind, key and value."""


class StatesTable:
    """States by kind and key."""

    def __init__(self, connection: CassandraConnection) -> None:
        self._connection = connection

    def get(self, kind: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values in the order of the keys, None where absent or deleted."""
        rows = self._select("key, position, value", kind, keys, VALUES_PER_READ)
        found = {key: _live(position, value) for key, position, value in rows}
        return [found.get(key) for key in keys]

    def positions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return the position of each key's state (a tombstone's too), NOTHING where there never was one."""
        found = dict(self._select("key, position", kind, keys, KEYS_PER_READ))
        return [found.get(key, NOTHING) for key in keys]

    def versions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return `version_of` each key's state; the values stay where they are."""
        rows = self._select("key, position, writetime(value)", kind, keys, KEYS_PER_READ)
        found = {key: position * 2 + (written_at != position) for key, position, written_at in rows}
        return [found.get(key, 0) for key in keys]

    def put(self, kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        """Write each entry that is newer than what is stored; say which were. Of two processes that write a key at the
        same time both may be told so; the newer one stays."""
        self._check(entries)
        keys = list(dict.fromkeys(key for key, _ in entries))
        stored = dict(zip(keys, self.versions(kind, keys), strict=True))
        written = [_advance(stored, entry) for entry in entries]
        self._write(kind, (entry for entry, newer in zip(entries, written, strict=True) if newer))
        return written

    def write(self, kind: str, entries: Sequence[StateEntry]) -> None:
        """As put, without saying which were written, which takes a read less."""
        self._check(entries)
        self._write(kind, (entry for entry in entries if position_of(entry.value) != NOTHING))

    def scan(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of every state of a kind, page by page, in the order of the ring."""
        select = f"SELECT key, position, value FROM {{keyspace}}.{states_table(kind)} WHERE kind = ?"  # noqa: S608
        statement = self._connection.prepared(f"{select} ALLOW FILTERING").bind((kind,))
        statement.fetch_size = SCAN_PAGE
        result = self._connection.run([statement], READ)[0]
        with translated():
            for key, position, value in result:
                live = _live(position, value)
                if live is not None:
                    yield key, live

    def _check(self, entries: Sequence[StateEntry]) -> None:
        check_entries(entries)
        for _, value in entries:
            if len(value) > MAX_VALUE_BYTES:
                raise FixRequest("value", f"Cassandra takes {MAX_VALUE_BYTES} bytes, this one has {len(value)}")

    def _select(self, columns: str, kind: str, keys: Sequence[bytes], together: int) -> list[Any]:
        possible = [key for key in dict.fromkeys(keys) if 1 <= len(key) <= MAX_KEY_BYTES]
        if not possible:
            return []
        query = f"SELECT {columns} FROM {{keyspace}}.{states_table(kind)} WHERE kind = ? AND key IN ?"  # noqa: S608
        select = self._connection.prepared(query)
        groups = (possible[start : start + together] for start in range(0, len(possible), together))
        return rows_of(self._connection.run((select.bind((kind, group)) for group in groups), READ))

    def _write(self, kind: str, entries: Iterable[StateEntry]) -> None:
        query = f"""
INSERT INTO {{keyspace}}.{states_table(kind)} (kind, key, position, value) VALUES (?, ?, ?, ?) USING TIMESTAMP ?
"""  # noqa: S608 - the names of our own tables
        newest: dict[bytes, bytes] = {}
        for key, value in entries:
            if version_of(value) > version_of(newest.get(key)):
                newest[key] = value
        if newest:
            insert = self._connection.prepared(query)
            writes = (_write_of(insert, kind, key, value) for key, value in newest.items())
            self._connection.run(in_batches(writes), WRITE)


def _write_of(insert: Any, kind: str, key: bytes, value: bytes) -> Write:
    position = position_of(value)
    kept = value if len(value) > POSITION_BYTES else None
    return Write(insert, (kind, key, position, kept, position), key, _ROW_BYTES + len(kind) + len(key) + len(value))


def _advance(stored: dict[bytes, int], entry: StateEntry) -> bool:
    """Note a write in the versions that are stored if it is newer; return whether it is."""
    version = version_of(entry.value)
    newer = position_of(entry.value) != NOTHING and version > stored[entry.key]
    if newer:
        stored[entry.key] = version
    return newer


def _live(position: int, value: bytes | None) -> bytes | None:
    return value if value is not None and value.startswith(tombstone(position)) else None
