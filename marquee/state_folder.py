"""The state folder: whose it is, who runs on it, and which steps of the set-up are done."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from marquee.remembered import FILE
from streams.errors import Corrupt, FixRequest, TryAgain
from streams.settings import Settings

MARKER: Final = "marquee-state.json"
"""The file that makes a folder a Marquee state folder, and keeps the steps done."""
LOCK: Final = "supervisor.lock"
LOGS: Final = "logs"
_OTHERS: Final = (MARKER, FILE, LOCK, LOGS, "metaflow", "training", "snapshots", "impressions.spool", "keys")
"""What is kept in the folder beside the embedded engines' files."""


class Setup(msgspec.Struct, frozen=True):
    """What the folder was set up from ("" before it was), and the steps done, each with a word on its result."""

    source: str = ""
    steps: dict[str, str] = {}


def require_state(settings: Settings) -> None:
    """Raise FixRequest unless there is a state folder."""
    if not settings.state.is_dir():
        raise FixRequest(str(settings.state), "there is no such state folder; `marquee up` makes it, or name another")


class StateFolder:
    """A state folder by its settings."""

    def __init__(self, settings: Settings) -> None:
        self.path = settings.state
        self._names = (*_embedded_names(settings), *_OTHERS)

    def claim(self) -> None:
        """Make this a Marquee state folder, creating it if needed. Raises FixRequest if it holds anything else."""
        if self.path.exists() and not self.path.is_dir():
            raise FixRequest(str(self.path), "it is a file; choose another state folder with STATE=path")
        if self.is_marked():
            return
        if foreign := self._foreign():
            raise FixRequest(
                str(self.path), f"it holds other things ({foreign[0]}); choose an empty state folder with STATE=path"
            )
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FixRequest(str(self.path), f"it cannot be created ({error.strerror})") from None
        self.write(Setup())

    def check_marked(self) -> None:
        """Raise FixRequest unless this is a Marquee state folder."""
        if not self.is_marked():
            raise FixRequest(str(self.path), f"it is not a Marquee state folder (it has no {MARKER}); left as it is")

    def is_marked(self) -> bool:
        """Return whether this is a Marquee state folder."""
        return (self.path / MARKER).is_file()

    def read(self) -> Setup:
        """Return the set-up so far. Raises Corrupt when its file cannot be read."""
        try:
            return msgspec.json.decode((self.path / MARKER).read_bytes(), type=Setup)
        except FileNotFoundError:
            return Setup()
        except (msgspec.DecodeError, OSError) as error:
            raise Corrupt(f"{self.path / MARKER} cannot be read ({error}); `marquee reset` starts afresh") from None

    def write(self, setup: Setup) -> None:
        """Keep the set-up so far; a crash leaves the old file or the new one."""
        temporary = self.path / f"{MARKER}.{os.getpid()}"
        with temporary.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(setup)))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path / MARKER)

    def finish(self, step: str, result: str) -> None:
        """Keep that a step of the set-up is done."""
        setup = self.read()
        self.write(msgspec.structs.replace(setup, steps={**setup.steps, step: result}))

    def is_locked(self) -> bool:
        """Return whether a supervisor runs on this folder."""
        try:
            with self.lock():
                return False
        except TryAgain:
            return True

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder alone. Raises TryAgain when another supervisor holds it; a dead one's lock is free."""
        handle = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = os.pread(handle, 20, 0).decode(errors="replace").strip() or "unknown"
                raise TryAgain(
                    f"Marquee runs on {self.path} already (process {pid}); stop it, or choose another STATE=path"
                ) from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(handle)

    def empty(self) -> list[str]:
        """Remove what Marquee keeps in the folder, the marker last; return the names of what else is there.

        Raises FixRequest unless it is a Marquee state folder. Call it with the lock held.
        """
        if not self.is_marked():
            raise FixRequest(
                str(self.path), f"it is not a Marquee state folder (it has no {MARKER}); nothing was removed"
            )
        mine = [
            entry for entry in self.path.iterdir() if self._is_mine(entry.name) and entry.name not in (MARKER, LOCK)
        ]
        for entry in mine:
            _remove(entry)
        (self.path / MARKER).unlink()
        (self.path / LOCK).unlink(missing_ok=True)
        return self._foreign()

    def _foreign(self) -> list[str]:
        if not self.path.exists():
            return []
        return sorted(entry.name for entry in self.path.iterdir() if not self._is_mine(entry.name))

    def _is_mine(self, name: str) -> bool:
        return any(name == own or name.startswith((f"{own}-", f"{own}.")) for own in self._names)


def _embedded_names(settings: Settings) -> list[str]:
    """Return the names, in the state folder, of what embedded engines keep there."""
    urls = [settings.log_url, settings.hot_url, settings.durable_url, settings.sql_url]
    local = [url for url in (*urls, settings.warehouse_url, settings.blobs_url) if "://" not in url]
    paths = [settings.path_of(url) for url in local]
    return [path.relative_to(settings.state).parts[0] for path in paths if path.is_relative_to(settings.state)]


def _remove(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink(missing_ok=True)
