"""LMDB environments, shared within the process and watched for loss.

LMDB forbids opening one environment twice in a process (closing one would drop the other's locks), so a registry keeps
each open environment once, however many logs use it. Every use looks at the data file first: if it has gone, the caller
is told to try again; if it has been replaced, it is opened anew. A process made by fork cannot use what its parent had
open (LMDB's locks do not cross a fork) and is told so: start processes anew instead.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import lmdb

from streams.errors import Corrupt, MarqueeError, SlowDown, TryAgain

MAX_READERS: Final = 510
"""Read transactions open at one moment, over all processes; a slot takes 64 bytes of the lock file."""

FULL_RETRY_S: Final = 5.0
"""Retention runs every ten seconds, and nothing else makes room."""

FileIdentity = tuple[int, int]


class FilesMissing(TryAgain):
    """An environment's files are not where they were; they may come back, or be made anew."""


@dataclass(frozen=True)
class EnvironmentOptions:
    """How to open an environment. max_bytes: the size it never grows over. sync: whether commits reach the disk.
    max_databases: how many it may have in time, as many as named if 0."""

    max_bytes: int
    databases: Sequence[bytes]
    sync: bool
    max_databases: int = 0


@dataclass(eq=False)
class OpenEnvironment:
    """An environment open in this process, with its named databases."""

    env: Any
    databases: dict[bytes, Any]
    files: FileIdentity | None
    handles: set[int] = field(default_factory=set)
    users: int = 0
    retired: bool = False
    broken: bool = False


class Handle:
    """One user's way to the environment at `path`: opened at first use, reopened when its files were replaced."""

    def __init__(self, path: Path, options: EnvironmentOptions) -> None:
        self._path = Path(os.path.realpath(path))
        self._options = options

    @property
    def path(self) -> Path:
        """Where the environment's files are."""
        return self._path

    def create(self) -> None:
        """Make the environment's folder and files, if they are not there."""
        with _translated(self._path):
            self._path.mkdir(parents=True, exist_ok=True)
        _registry.release(_registry.acquire(self, create=True))

    def exists(self) -> bool:
        """Return whether the environment's data file is there."""
        return file_identity(self._path) is not None

    @contextmanager
    def use(self) -> Iterator[OpenEnvironment]:
        """Yield the open environment; LMDB's errors come out as ours (TryAgain, SlowDown, Corrupt)."""
        opened = _registry.acquire(self, create=False)
        try:
            yield opened
        except (lmdb.Error, OSError) as error:
            _note(opened, error)
            raise translated(error, self._path) from error
        finally:
            _registry.release(opened)

    def open(self) -> OpenEnvironment:
        """Open the files; for the registry."""
        options = self._options
        env = lmdb.open(
            str(self._path),
            map_size=options.max_bytes,
            max_dbs=max(options.max_databases, len(options.databases)),
            max_readers=MAX_READERS,
            sync=options.sync,
            metasync=options.sync,
        )
        try:
            env.reader_check()
            with env.begin(write=True) as transaction:
                databases = {name: env.open_db(name, txn=transaction) for name in options.databases}
        except BaseException:
            env.close()
            raise
        return OpenEnvironment(env, databases, file_identity(self._path))

    def add_databases(self, opened: OpenEnvironment) -> None:
        """Open the databases that this handle names and others of its environment do not; for the registry."""
        missing = [name for name in self._options.databases if name not in opened.databases]
        if missing:
            with opened.env.begin(write=True) as transaction:
                added = {name: opened.env.open_db(name, txn=transaction) for name in missing}
            opened.databases.update(added)

    def close(self) -> None:
        """Let go; the last handle to let go closes the environment."""
        _registry.leave(self)


class _Registry:
    """The environments open in this process, by path."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: dict[Path, OpenEnvironment] = {}
        self._inherited: list[OpenEnvironment] = []

    def acquire(self, handle: Handle, *, create: bool) -> OpenEnvironment:
        with self._lock:
            opened = self._opened.get(handle.path)
            files = file_identity(handle.path)
            if opened is not None and (files != opened.files or opened.broken):
                self._retire(handle.path, opened)
                opened = None
            if opened is None:
                if files is None and not create:
                    raise FilesMissing(f"the files of {handle.path.name} are missing")
                with _translated(handle.path):
                    opened = self._opened[handle.path] = handle.open()
            elif id(handle) not in opened.handles:
                with _translated(handle.path):
                    handle.add_databases(opened)
            opened.handles.add(id(handle))
            opened.users += 1
            return opened

    def release(self, opened: OpenEnvironment) -> None:
        with self._lock:
            opened.users -= 1
            self._close_if_unused(opened)

    def leave(self, handle: Handle) -> None:
        with self._lock:
            opened = self._opened.get(handle.path)
            if opened is not None:
                opened.handles.discard(id(handle))
                if not opened.handles:
                    self._retire(handle.path, opened)

    def forget_after_fork(self) -> None:
        """Drop, unclosed, what the parent had opened: closing it here would close the parent's locks."""
        self._inherited.extend(self._opened.values())
        self._opened = {}
        self._lock = threading.Lock()

    def _retire(self, path: Path, opened: OpenEnvironment) -> None:
        del self._opened[path]
        opened.retired = True
        self._close_if_unused(opened)

    def _close_if_unused(self, opened: OpenEnvironment) -> None:
        """Close a retired environment once no thread is inside: closing it under a thread would crash the process."""
        if opened.retired and opened.users == 0:
            opened.env.close()


_registry = _Registry()
os.register_at_fork(after_in_child=_registry.forget_after_fork)


def file_identity(path: Path) -> FileIdentity | None:
    """Return what tells an environment's data file from another one at the same path; None if there is none."""
    try:
        status = os.stat(f"{path}/data.mdb")
    except OSError:
        return None
    return status.st_dev, status.st_ino


_CORRUPT = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.VersionMismatchError)
_REOPEN = (lmdb.PanicError, lmdb.MapResizedError)


def _note(opened: OpenEnvironment, error: Exception) -> None:
    """Free what dead readers pin when the map is full; have the environment reopened after errors that need it."""
    if isinstance(error, lmdb.MapFullError | lmdb.ReadersFullError):
        opened.env.reader_check()
    opened.broken = opened.broken or isinstance(error, _REOPEN)


def translated(error: Exception, path: Path) -> MarqueeError:
    """Return the error that says what the caller should do about an LMDB or operating system error."""
    if isinstance(error, lmdb.MapFullError):
        return SlowDown(f"{path.name} is full", FULL_RETRY_S)
    if isinstance(error, _CORRUPT):
        return Corrupt(f"{path.name} cannot be read back: {error}")
    return TryAgain(f"{path.name} is unavailable: {error}")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise translated(error, path) from error
