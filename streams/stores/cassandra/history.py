"""Histories: a partition for each member, a row for each event, newest first, written as of its position.

A member of ten years has some 100,000 rows in it, about 7 MB; a node warns of partitions above 100 MB. One partition
is deleted at once, as of a position: rows up to it stay gone when they are delivered again, later ones stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

from cassandra.query import UNSET_VALUE

from streams.stores.cassandra.batching import Write, in_batches
from streams.stores.cassandra.connection import READ, WRITE, CassandraConnection
from streams.stores.cassandra.errors import translated
from streams.stores.protocol import HistoryRow

PAGE_ROWS: Final = 5_000
_ROW_BYTES: Final = 110
"""Of a mutation, beside type and item id."""

_APPEND: Final = """
INSERT INTO {keyspace}.history (member_id, event_time_ms, position, type, item_id, value, page_id)
VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?
"""
_NEWEST: Final = """
SELECT member_id, position, event_time_ms, type, item_id, value, page_id FROM {keyspace}.history
WHERE member_id = ? LIMIT ?
"""
_POSITIONS: Final = "SELECT position FROM {keyspace}.history WHERE member_id = ?"
_FORGET: Final = "DELETE FROM {keyspace}.history USING TIMESTAMP ? WHERE member_id = ?"
STATEMENTS: Final = (_APPEND, _NEWEST, _POSITIONS, _FORGET)


class HistoryTable:
    """ttl_s: how long a row is kept, 0 for ever."""

    def __init__(self, connection: CassandraConnection, ttl_s: int) -> None:
        self._connection = connection
        self._ttl_s = ttl_s

    def append(self, rows: Sequence[HistoryRow]) -> None:
        """Add rows; one already there stays."""
        if rows:
            insert = self._connection.prepared(_APPEND)
            by_member = sorted(rows, key=attrgetter("member_id"))
            self._connection.run(in_batches(self._write_of(insert, row) for row in by_member), WRITE)

    def newest(self, member_id: str, limit: int) -> list[HistoryRow]:
        """Return the member's newest rows by event time, newest first."""
        if limit <= 0 or not member_id:
            return []
        limit = min(limit, 2**31 - 1)
        return [HistoryRow(*row) for row in self._pages(_NEWEST, (member_id, limit))]

    def forget(self, member_id: str) -> int:
        """Delete the member's rows, and those of older positions that are yet to come; return how many there were."""
        positions = [row[0] for row in self._pages(_POSITIONS, (member_id,))]
        if positions:
            delete = self._connection.prepared(_FORGET)
            self._connection.run([delete.bind((max(positions), member_id))], WRITE)
        return len(positions)

    def _pages(self, query: str, values: tuple[Any, ...]) -> list[Any]:
        statement = self._connection.prepared(query).bind(values)
        statement.fetch_size = PAGE_ROWS
        result = self._connection.run([statement], READ)[0]
        with translated():
            return list(result)

    def _write_of(self, insert: Any, row: HistoryRow) -> Write:
        value, page_id = (UNSET_VALUE if one is None else one for one in (row.value, row.page_id))  # not a deletion
        values = (row.member_id, row.event_time_ms, row.position, row.type, row.item_id, value, page_id)
        size = _ROW_BYTES + len(row.type) + len(row.item_id) + len(row.page_id or "")
        return Write(insert, (*values, row.position, self._ttl_s), row.member_id, size)
