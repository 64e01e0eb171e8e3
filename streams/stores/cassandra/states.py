"""States: one row each, written as of its position.

The position is the timestamp of both cells of a row, so that on every replica the higher one stays, in whatever order
writes arrive. A deleted state has its position and no value; on a tie a deleted cell wins, as the protocol asks for.

A value begins with its position. One that differs from the row's was deleted and has come back, from a replica that
missed the deletion until gc_grace was over: it reads as deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from streams.errors import FixRequest
from streams.positions import NOTHING
from streams.stores.cassandra.batching import Write, in_batches
from streams.stores.cassandra.claims import Claims
from streams.stores.cassandra.connection import READ, WRITE, CassandraConnection, rows_of
from streams.stores.cassandra.errors import translated
from streams.stores.cassandra.schema import OTHER_STATES, STATES_TABLES, states_table
from streams.stores.entries import MAX_KEY_BYTES, check_entries
from streams.stores.protocol import POSITION_BYTES, StateEntry, position_of, tombstone, version_of

MAX_VALUE_BYTES: Final = 7 << 20
"""A node refuses messages above 8 MB, unless it is told otherwise."""

KEYS_PER_READ: Final = 32
"""Keys in one request for positions. The coordinator asks the replicas of each; the driver is spared 31 requests."""

VALUES_PER_READ: Final = 8
"""Keys in one request for values, each of up to 25 kB."""

DROP_PAGE: Final = 1_000
SCAN_PAGE: Final = 200
"""Rows in memory at once in a scan."""

_ROW_BYTES: Final = 80
"""Of a mutation, beside kind, key and value."""


class _Statements(NamedTuple):
    """What is asked of a table."""

    values: str
    positions: str
    versions: str
    scan: str
    insert: str
    all_keys: str
    delete: str


def _statements(table: str) -> _Statements:
    name = f"{{keyspace}}.{table}"
    of_keys = f"FROM {name} WHERE kind = ? AND key IN ?"
    return _Statements(
        values=f"SELECT key, position, value {of_keys}",
        positions=f"SELECT key, position {of_keys}",
        versions=f"SELECT key, position, writetime(value) {of_keys}",
        scan=f"SELECT key, position, value FROM {name} WHERE kind = ? ALLOW FILTERING",  # noqa: S608 - our own names
        insert=f"INSERT INTO {name} (kind, key, position, value) VALUES (?, ?, ?, ?) USING TIMESTAMP ?",  # noqa: S608
        all_keys=f"SELECT key, position FROM {name} WHERE kind = ? ALLOW FILTERING",  # noqa: S608
        delete=f"DELETE FROM {name} USING TIMESTAMP ? WHERE kind = ? AND key = ?",  # noqa: S608
    )


_OF_TABLE: Final = {table: _statements(table) for table in STATES_TABLES}
STATEMENTS: Final = tuple(statement for of_table in _OF_TABLE.values() for statement in of_table)


class StatesTable:
    """States by kind and key."""

    def __init__(self, connection: CassandraConnection) -> None:
        self._connection = connection
        self._claims = Claims(connection)
        self._drops: dict[str, bytes] = {}
        """Where the last drop of a kind ended."""

    def get(self, kind: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values in the order of the keys, None where absent or deleted."""
        rows = self._select(_of(kind).values, kind, keys, VALUES_PER_READ)
        found = {key: _live(position, value) for key, position, value in rows}
        return [found.get(key) for key in keys]

    def positions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return the position of each key's state (a tombstone's too), NOTHING where there never was one."""
        found = dict(self._select(_of(kind).positions, kind, keys, KEYS_PER_READ))
        return [found.get(key, NOTHING) for key in keys]

    def versions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return `version_of` each key's state; the values stay where they are."""
        rows = self._select(_of(kind).versions, kind, keys, KEYS_PER_READ)
        found = {key: position * 2 + (written_at != position) for key, position, written_at in rows}
        return [found.get(key, 0) for key in keys]

    def put(self, kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        """Write each entry that is newer than what is stored; say which were.

        Of two processes that write a state of a member or title at the same time both may be told so; the newer one
        stays. Of other kinds (records of which there are few) only one of those with the same position is told so.
        """
        self._check(entries)
        keys = list(dict.fromkeys(key for key, _ in entries))
        stored = dict(zip(keys, self.versions(kind, keys), strict=True))
        written = [_advance(stored, entry) for entry in entries]
        newer = [place for place, is_newer in enumerate(written) if is_newer]
        if states_table(kind) == OTHER_STATES:
            for place, is_first in zip(newer, self._claims.claim(kind, [entries[at] for at in newer]), strict=True):
                written[place] = is_first
        self._write(kind, (entries[place] for place in newer if written[place]))
        return written

    def write(self, kind: str, entries: Sequence[StateEntry]) -> None:
        """As put, without saying which were written, which takes a read less."""
        self._check(entries)
        self._write(kind, (entry for entry in entries if position_of(entry.value) != NOTHING))

    def scan(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of every state of a kind, page by page, in the order of the ring."""
        statement = self._connection.prepared(_of(kind).scan).bind((kind,))
        statement.fetch_size = SCAN_PAGE
        result = self._connection.run([statement], READ)[0]
        with translated():
            for key, position, value in result:
                live = _live(position, value)
                if live is not None:
                    yield key, live

    def drop(self, kind: str, limit: int) -> int:
        """Delete up to `limit` states of a kind, tombstones included; return how many, 0 once there are none.

        Each is deleted as of its position: the kind's name cannot be used again for states of those positions.
        """
        if limit <= 0:
            return 0
        statements = _of(kind)
        listing = self._connection.prepared(statements.all_keys).bind((kind,))
        listing.fetch_size = min(limit, DROP_PAGE)
        dropped = 0
        while dropped < limit:
            resumed = self._drops.pop(kind, None)
            rows, after = self._connection.page(listing, READ, resumed)
            some = rows[: limit - dropped]
            delete = self._connection.prepared(statements.delete)
            writes = (Write(delete, (position, kind, key), key, _ROW_BYTES + len(key)) for key, position in some)
            self._connection.run(in_batches(writes), WRITE)
            dropped += len(some)
            if after is not None and len(some) == len(rows):
                self._drops[kind] = after
            elif not rows and resumed is None:
                break
        return dropped

    def _check(self, entries: Sequence[StateEntry]) -> None:
        check_entries(entries)
        for _, value in entries:
            if len(value) > MAX_VALUE_BYTES:
                raise FixRequest("value", f"Cassandra takes {MAX_VALUE_BYTES} bytes, this one has {len(value)}")

    def _select(self, query: str, kind: str, keys: Sequence[bytes], together: int) -> list[Any]:
        possible = [key for key in dict.fromkeys(keys) if 1 <= len(key) <= MAX_KEY_BYTES]
        if not possible:
            return []
        select = self._connection.prepared(query)
        groups = (possible[start : start + together] for start in range(0, len(possible), together))
        return rows_of(self._connection.run((select.bind((kind, group)) for group in groups), READ))

    def _write(self, kind: str, entries: Iterable[StateEntry]) -> None:
        newest: dict[bytes, bytes] = {}
        for key, value in entries:
            if version_of(value) > version_of(newest.get(key)):
                newest[key] = value
        if newest:
            insert = self._connection.prepared(_of(kind).insert)
            writes = (_write_of(insert, kind, key, value) for key, value in newest.items())
            self._connection.run(in_batches(writes), WRITE)


def _of(kind: str) -> _Statements:
    return _OF_TABLE[states_table(kind)]


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
