"""An LMDB environment that is shared within a process, notices when its files go, and never outlives a boot.

LMDB forbids opening an environment twice in one process, so every store of a path shares one `SharedEnvironment`
(counted in a registry). Writes are not synced one by one: they survive the death of any process, not the loss of
power. Pages of a file that was last written before a reboot may therefore be lost in any order, and with them the
promise that what is stored covers what was committed; such a file is set aside and the store begins empty.
"""

from __future__ import annotations

import os
import threading
import time
from mmap import PAGESIZE
from pathlib import Path
from typing import Any, Final

import lmdb

from streams.errors import TryAgain
from streams.stores.folder_lock import alone_in

CHECK_INTERVAL_S: Final = 0.1
"""How often an environment looks whether its files are still there, and how soon it tries again to open them."""

MAX_KINDS: Final = 128
"""Named sub-databases that a process may use: the platform has six kinds, and four more with each generation that the
process lives through."""

MAX_READERS: Final = 1_022
"""Read transactions at once, over all processes: 16 processes with a full thread pool of 40, and half as many spare."""

_DATA: Final = "data.mdb"
_LOCK: Final = "lock.mdb"
_BOOT: Final = "boot"
_CUT: Final = f"{_DATA} was cut; delete the folder, it is rebuilt"
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

Identity = tuple[int, int, int]
"""Device and the inodes of the data and the lock file."""


class OpenEnvironment:
    """One opening of the files: the LMDB handle, its sub-databases by kind, and which files they were.

    It is never closed but dropped: a thread in the middle of a read keeps it alive until it is done.
    """

    __slots__ = ("_opening", "databases", "env", "identity")

    def __init__(self, env: Any, identity: Identity) -> None:
        self.env = env
        self.identity = identity
        self.databases: dict[str, Any] = {}
        self._opening = threading.Lock()

    def database(self, kind: str, create: bool) -> Any | None:
        """Return the sub-database of a kind, None if there is none and none is to be made."""
        database = self.databases.get(kind)
        return database if database is not None else self._open_database(kind, create)

    def _open_database(self, kind: str, create: bool) -> Any | None:
        with self._opening:  # LMDB allows one transaction at a time to open sub-databases
            if not create and not self._has(kind):
                return None
            # A handle lives on only if a write transaction opened it: this takes the write lock, once for each kind.
            # It is begun here, because `open_db` would wait for the lock without letting other threads run.
            with self.env.begin(write=True) as transaction:
                database = self.env.open_db(kind.encode(), txn=transaction)
            self.databases[kind] = database
            return database

    def _has(self, kind: str) -> bool:
        with self.env.begin() as transaction:
            return transaction.get(kind.encode()) is not None


class SharedEnvironment:
    """The environment in a folder, opened on first use and again whenever its files are replaced. Thread-safe."""

    def __init__(self, folder: Path, map_size: int) -> None:
        self.folder = folder
        self._map_size = map_size
        self._opened: OpenEnvironment | None = None
        self._check_at_s = 0.0
        self._failure: str | None = None
        self._lock = threading.Lock()

    def current(self) -> OpenEnvironment:
        """Return the open environment. Raises TryAgain, with the reason, when the files cannot be opened or created."""
        opened = self._opened
        if opened is not None and time.monotonic() < self._check_at_s:
            return opened
        return self._checked()

    def is_current(self, opened: OpenEnvironment) -> bool:
        """Return whether `opened` is still what the folder holds: after a commit, whether anyone will find it."""
        return identity_of(self.folder) == opened.identity

    def drop(self, opened: OpenEnvironment) -> None:
        """Forget an opening after an error that a new one may mend; the next call opens the files again."""
        with self._lock:
            if self._opened is opened:
                self._opened = None
                self._check_at_s = 0.0

    def close(self) -> None:
        """Let go of the files; threads in the middle of a read finish it first."""
        with self._lock:
            self._opened = None
            self._check_at_s = 0.0

    def _checked(self) -> OpenEnvironment:
        with self._lock:
            now_s = time.monotonic()
            if now_s >= self._check_at_s:
                self._check_at_s = now_s + CHECK_INTERVAL_S
                self._renew()
            if self._opened is None:
                raise TryAgain(f"{self.folder} cannot be opened: {self._failure}", CHECK_INTERVAL_S)
            return self._opened

    def _renew(self) -> None:
        try:
            opened, self._opened = self._opened, None
            if opened is not None and identity_of(self.folder) == opened.identity:
                _check_not_cut(self.folder, opened.env)
                self._opened = opened
                return
            del opened  # LMDB refuses a second opening of files that are still open
            self._opened = _open(self.folder, self._map_size)
            self._failure = None
        except (lmdb.Error, OSError, _Damaged) as error:
            self._failure = str(error)


class _Damaged(Exception):  # noqa: N818 - stays within this module
    """The data file is shorter than it says; reading what is missing would kill the process."""


_registry: dict[Path, tuple[SharedEnvironment, int]] = {}
_registry_lock = threading.Lock()


def acquire(folder: Path, map_size: int) -> SharedEnvironment:
    """Return the process's environment of a folder; each call is paired with one of `release`."""
    key = folder.absolute()
    with _registry_lock:
        environment, count = _registry.get(key, (None, 0))
        if environment is None:
            environment = SharedEnvironment(key, map_size)
        _registry[key] = (environment, count + 1)
        return environment


def release(environment: SharedEnvironment) -> None:
    """Give back an acquired environment; the last one closes it."""
    with _registry_lock:
        _, count = _registry.pop(environment.folder)
        if count > 1:
            _registry[environment.folder] = (environment, count - 1)
        else:
            environment.close()


def identity_of(folder: Path) -> Identity | None:
    """Return which files a folder holds, None if one is missing."""
    try:
        data, lock = os.stat(folder / _DATA), os.stat(folder / _LOCK)
    except OSError:
        return None
    return data.st_dev, data.st_ino, lock.st_ino


def _open(folder: Path, map_size: int) -> OpenEnvironment:
    folder.mkdir(parents=True, exist_ok=True)
    with alone_in(folder.parent):
        _discard_unless_whole(folder)
        env = lmdb.open(
            str(folder), map_size=map_size, max_dbs=MAX_KINDS, max_readers=MAX_READERS, sync=False, metasync=False
        )
        env.reader_check()  # slots of readers that were killed would keep their pages from being used again
        identity = identity_of(folder)
        if identity is None:
            raise FileNotFoundError(f"{folder} was deleted while it was opened")
        _check_not_cut(folder, env)
        return OpenEnvironment(env, identity)


def _discard_unless_whole(folder: Path) -> None:
    """Delete what is left of the files if one of them is missing or they are from before the last boot.

    A data file with another's lock file has no locks in common with the processes that hold the old one open.
    """
    boot = _read_text(_BOOT_ID)
    if identity_of(folder) is None or _read_text(folder / _BOOT) != boot:
        for name in (_DATA, _LOCK):
            (folder / name).unlink(missing_ok=True)
        (folder / _BOOT).write_text(boot)


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def _check_not_cut(folder: Path, env: Any) -> None:
    """Raise unless the data file is as long as its pages; they are written before the page count that names them."""
    data = folder / _DATA
    if os.stat(data).st_size < 2 * PAGESIZE:  # the page count is on the first two
        raise _Damaged(_CUT)
    least = (env.info()["last_pgno"] + 1) * PAGESIZE
    if os.stat(data).st_size < least:
        raise _Damaged(_CUT)
