"""The embedded hot store: LMDB, one sub-database per kind, shared by every process of one machine.

Reading is a memory lookup (no system call, no lock), writing is one transaction in which positions are compared.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import lmdb

from streams.errors import FixRequest, MarqueeError, SlowDown, TryAgain
from streams.positions import NOTHING
from streams.stores import lmdb_environment
from streams.stores.entries import check_entries, is_newer
from streams.stores.lmdb_environment import OpenEnvironment
from streams.stores.protocol import POSITION_BYTES, StateEntry, position_of, version_of

SCAN_CHUNK: Final = 1_000
"""Entries read in one transaction of a scan: while one is open, no page that it could see is used again."""

_NEVER: Final = NOTHING.to_bytes(POSITION_BYTES, "big")
_NOT_MENDED_BY_OPENING: Final = (
    lmdb.MapFullError,
    lmdb.ReadersFullError,
    lmdb.DbsFullError,
    lmdb.CorruptedError,
    lmdb.PageNotFoundError,
)
"""Errors after which the environment is as good, or as bad, as before; other keys may still be read."""


class EmbeddedHotStore:
    """A StateStore in LMDB files in a folder. Every call may raise TryAgain; `put` raises SlowDown when it is full.

    The files may be deleted at any time: within 0.1 s the store goes on with new, empty ones.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._environment = lmdb_environment.acquire(folder, max_bytes)
        self._current = self._environment.current
        self._closed = False

    def get(self, kind: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values in the order of the keys, None where absent or deleted."""
        opened = self._current()
        try:
            database = opened.databases.get(kind) or opened.database(kind, create=False)
            if database is None:
                return [None] * len(keys)
            transaction = opened.env.begin(database)
            try:
                read = transaction.get
                return [_live(read(key)) if key else None for key in keys]
            finally:
                transaction.abort()
        except lmdb.Error as error:
            raise self._failed(opened, error) from error

    def positions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return the position of each key's state (a tombstone's too), NOTHING where there never was one."""
        return [version >> 1 for version in self.versions(kind, keys)]

    def versions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return `version_of` each key's state."""
        opened = self._current()
        try:
            database = opened.databases.get(kind) or opened.database(kind, create=False)
            if database is None:
                return [0] * len(keys)
            transaction = opened.env.begin(database, None, False, True)
            try:
                read = transaction.get
                return [version_of(read(key)) if key else 0 for key in keys]
            finally:
                transaction.abort()
        except lmdb.Error as error:
            raise self._failed(opened, error) from error

    def put(self, kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        """Write each entry that is newer than what is stored, all in one transaction."""
        check_entries(entries)
        if not entries:
            return []
        opened = self._current()
        try:
            database = opened.database(kind, create=True)
            with opened.env.begin(database, None, True, True) as transaction:
                written = [_put_if_newer(transaction, key, value) for key, value in entries]
        except lmdb.Error as error:
            raise self._failed(opened, error) from error
        if not self._environment.is_current(opened):
            self._environment.drop(opened)
            raise TryAgain("the hot store's files were deleted under a write", lmdb_environment.CHECK_INTERVAL_S)
        return written

    def scan(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of every state of a kind in key order; each chunk of SCAN_CHUNK is of one moment."""
        after = b""
        while chunk := self._chunk(kind, after):
            yield from ((key, value) for key, value in chunk if len(value) > POSITION_BYTES)
            after = chunk[-1][0]

    def drop(self, kind: str, limit: int) -> int:
        """Delete up to `limit` states of a kind for good, in one transaction; return how many."""
        opened = self._current()
        try:
            database = opened.database(kind, create=False)
            if database is None:
                return 0
            with opened.env.begin(database, None, True) as transaction, transaction.cursor() as cursor:
                count = 0
                while count < limit and cursor.first():
                    cursor.delete()
                    count += 1
                return count
        except lmdb.Error as error:
            raise self._failed(opened, error) from error

    def close(self) -> None:
        """Release the files, unless another store of this process has them open."""
        if not self._closed:
            self._closed = True
            self._current = _refuse_closed
            lmdb_environment.release(self._environment)

    def _chunk(self, kind: str, after: bytes) -> list[tuple[bytes, bytes]]:
        opened = self._current()
        try:
            database = opened.database(kind, create=False)
            if database is None:
                return []
            with opened.env.begin(database) as transaction, transaction.cursor() as cursor:
                return _read_after(cursor, after)
        except lmdb.Error as error:
            raise self._failed(opened, error) from error

    def _failed(self, opened: OpenEnvironment, error: lmdb.Error) -> MarqueeError:
        """Return what a caller should do about an LMDB error, having made room for the next try."""
        if not isinstance(error, _NOT_MENDED_BY_OPENING):
            self._environment.drop(opened)
        if isinstance(error, lmdb.MapFullError) or getattr(error, "code", 0) == errno.ENOSPC:
            return SlowDown(f"the hot store is full: {error}")
        if isinstance(error, lmdb.DbsFullError):
            return FixRequest("kind", f"a hot store holds at most {lmdb_environment.MAX_KINDS} kinds")
        if isinstance(error, lmdb.ReadersFullError):
            opened.env.reader_check()
        return TryAgain(f"the hot store is away: {error}", lmdb_environment.CHECK_INTERVAL_S)


def _live(value: bytes | None) -> bytes | None:
    return value if value is not None and len(value) > POSITION_BYTES else None


def _put_if_newer(transaction: Any, key: bytes, value: bytes) -> bool:
    stored = transaction.get(key, _NEVER)
    is_tombstone, is_stored_live = len(value) == POSITION_BYTES, len(stored) > POSITION_BYTES
    if not is_newer(position_of(value), is_tombstone, position_of(stored), is_stored_live):
        return False
    transaction.put(key, value)
    return True


def _read_after(cursor: Any, after: bytes) -> list[tuple[bytes, bytes]]:
    found = cursor.set_range(after) if after else cursor.first()
    if found and cursor.key() == after:
        found = cursor.next()
    if not found:
        return []
    return [entry for _, entry in zip(range(SCAN_CHUNK), cursor.iternext(), strict=False)]


def _refuse_closed() -> OpenEnvironment:
    raise TryAgain("the hot store is closed")
