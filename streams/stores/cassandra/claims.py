"""Who may write a record at a position, where two processes must not both believe that they did.

Writes with timestamps of our own cannot be conditional. So the right to write is taken first, by a conditional insert,
and lapses: who dies before the write holds others up for CLAIM_S, who is late does not write any more.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Final

from streams.errors import TryAgain
from streams.stores.cassandra.connection import WRITE, CassandraConnection, rows_of
from streams.stores.protocol import StateEntry, position_of

CLAIM_S: Final = 60
_CLAIM: Final = """
INSERT INTO {keyspace}.claims (kind, key, position, owner) VALUES (?, ?, ?, ?) IF NOT EXISTS USING TTL ?
"""
STATEMENTS: Final = (_CLAIM,)


class Claims:
    """The right to write an entry, once for each key and position."""

    def __init__(self, connection: CassandraConnection) -> None:
        self._connection = connection

    def claim(self, kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        """Say of each entry whether the caller may write it, at once. Raises TryAgain when that took too long."""
        if not entries:
            return []
        begun_s = time.monotonic()
        insert = self._connection.prepared(_CLAIM)
        owner = uuid.uuid4()
        statements = (insert.bind((kind, key, position_of(value), owner, CLAIM_S)) for key, value in entries)
        rows = rows_of(self._connection.run(statements, WRITE))
        applied = [row[0] or row[-1] == owner for row in rows]  # ours: asked twice, see RetryOnce
        if time.monotonic() - begun_s > CLAIM_S / 2:
            raise TryAgain("the right to write a record took too long to get")
        return applied
