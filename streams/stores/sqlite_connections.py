"""Connections to one SQLite file: pooled, in WAL mode, and aware of the file being taken away.

A connection is used by one thread at a time and then kept for the next, so threads may come and go.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sqlite3
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from streams.errors import MarqueeError, SlowDown, TryAgain
from streams.stores.folder_lock import alone_in

MAX_IDLE: Final = 8
"""Connections kept open: as many as threads read at once in one process when the hot store is away."""

WAL_LIMIT_BYTES: Final = 64 << 20
"""What the write-ahead log is cut to after a checkpoint; a burst may make it longer for a while."""

CACHE_KIB: Final = 16_384
"""Page cache of a connection: the upper levels of every index, and the leaves that a batch touches."""

Identity = tuple[int, int]
"""Device and inode of the file."""


class _Connected(NamedTuple):
    connection: sqlite3.Connection
    identity: Identity


class SqliteConnections:
    """A pool for one file. Thread-safe. Every SQLite error comes out as TryAgain (SlowDown when the disk is full).

    The file is created when it is not there at first; one that vanishes later is missed, not replaced, because what was
    committed elsewhere relies on what it held. A file put in its place is used.
    """

    def __init__(self, path: Path, schema: Sequence[str], *, read_timeout_ms: int, write_timeout_ms: int) -> None:
        """schema: statements by version: those that make an empty file one of version 1, that one of version 2, …"""
        self._path = path
        self._schema = schema
        self._version = len(schema)
        self._read_timeout_ms = read_timeout_ms
        self._write_timeout_ms = write_timeout_ms
        self._idle: deque[_Connected] = deque()
        self._created = False
        self._closed = False

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give a connection for statements that only read; each sees the newest committed state."""
        with self._borrowed() as connected:
            yield connected.connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Give a connection inside a write transaction, committed at the end of the block and undone by an error."""
        with self._borrowed() as connected:
            connection = connected.connection
            connection.execute(f"PRAGMA busy_timeout={self._write_timeout_ms:d}")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
            connection.execute(f"PRAGMA busy_timeout={self._read_timeout_ms:d}")
            if _identity_of(self._path) != connected.identity:
                raise TryAgain(f"{self._path} was deleted or replaced under a write")

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[_Connected]:
        connected = self._borrow()
        try:
            yield connected
        except sqlite3.Error as error:
            self._discard(connected)
            raise self._explained(error) from error
        except BaseException:
            self._discard(connected)
            raise
        self._give_back(connected)

    def close(self) -> None:
        """Close the idle connections; those in use are closed when they come back."""
        self._closed = True
        self._drop_idle()

    def _borrow(self) -> _Connected:
        identity = _identity_of(self._path)
        try:
            while self._idle:
                connected = self._idle.pop()
                if connected.identity == identity:
                    return connected
                _abandon(connected.connection)
        except IndexError:  # another thread took the last one
            pass
        return self._connect()

    def _give_back(self, connected: _Connected) -> None:
        if self._closed or len(self._idle) >= MAX_IDLE:
            self._discard(connected)
        else:
            self._idle.append(connected)

    def _discard(self, connected: _Connected) -> None:
        if connected.identity == _identity_of(self._path):
            connected.connection.close()
        else:
            _abandon(connected.connection)

    def _drop_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._discard(self._idle.pop())

    def _connect(self) -> _Connected:
        if self._closed:
            raise TryAgain(f"{self._path} is closed")
        self._check_not_missing()  # before a folder is made that may be on its way back
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with alone_in(self._path.parent):
                connected = self._open()
        except sqlite3.Error as error:
            raise self._explained(error) from error
        except OSError as error:
            raise TryAgain(f"{self._path} cannot be opened: {error}") from error
        self._created = True
        return connected

    def _open(self) -> _Connected:
        self._check_not_missing()
        if _identity_of(self._path) is None:
            for suffix in ("-wal", "-shm"):  # of a file that is gone; SQLite would take them for the new one's
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            self._configure(connection)
            self._migrate(connection)
            return _Connected(connection, _identity_of(self._path) or (0, 0))
        except BaseException:
            connection.close()
            raise

    def _check_not_missing(self) -> None:
        if self._created and _identity_of(self._path) is None:
            raise TryAgain(f"{self._path} is missing; it was there before: put it back, or start anew without it")

    def _configure(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA busy_timeout={self._read_timeout_ms:d}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES:d}")
        connection.execute(f"PRAGMA cache_size=-{CACHE_KIB:d}")
        connection.execute("PRAGMA secure_delete=FAST")  # what a member asks to be forgotten is overwritten

    def _migrate(self, connection: sqlite3.Connection) -> None:
        if _version_of(connection) < self._version:
            connection.execute("BEGIN IMMEDIATE")
            for statements in self._schema[_version_of(connection) :]:  # as it is under the lock
                for statement in statements.split(";"):
                    connection.execute(statement)
            if _version_of(connection) < self._version:
                connection.execute(f"PRAGMA user_version={self._version:d}")
            connection.execute("COMMIT")
        found = _version_of(connection)
        if found != self._version:
            raise TryAgain(f"{self._path} has schema version {found}; this code reads {self._version}")

    def _explained(self, error: sqlite3.Error) -> MarqueeError:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return SlowDown(f"{self._path} cannot grow: {error}")
        return TryAgain(f"{self._path} is away: {error}")


def _version_of(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _identity_of(path: Path) -> Identity | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _abandon(connection: sqlite3.Connection) -> None:
    """Leave a connection to a deleted file open until the process ends.

    SQLite deletes the write-ahead log by name when it closes a file's last connection, and by now that name may be the
    log of the file's successor. There are at most MAX_IDLE of these each time someone deletes the file.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
