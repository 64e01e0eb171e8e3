"""The folder of a set of engines: whose it is, which ports they have, and the processes that were started."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from marquee.engines.process import Started
from streams.errors import FixRequest

DEFAULT_FOLDER: Final = Path(".marquee-engines")
DEFAULT_PORT: Final = 21_000
"""Below the ports that systems give to outgoing connections. An engine listens here plus the end of its usual port."""
MARKER: Final = "marquee-engines.json"
LOCK: Final = "engines.lock"
STATE: Final = "state"
"""The state folder of a platform that `make run ENGINES=real` runs: it goes with the data that it belongs to."""
OURS: Final = frozenset({MARKER, LOCK, "jars", STATE})
"""What a folder may hold before it is an engines folder."""


class Marker(msgspec.Struct, frozen=True):
    """What makes a folder an engines folder."""

    base_port: int


class EnginesFolder:
    """A folder by its path; it is made when the first engine is locked. FixRequest for other ports than it has."""

    def __init__(self, path: Path, base_port: int | None) -> None:
        self.path = path
        self._run = path / "run"
        self.base_port = self._ports_of(base_port)

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold an engine alone, among the threads and processes that start and stop engines of this folder."""
        self._check()
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (self.path / MARKER).exists():
                (self.path / MARKER).write_bytes(msgspec.json.encode(Marker(self.base_port)))
        self._run.mkdir(exist_ok=True)
        with (self._run / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def processes(self, name: str) -> list[str]:
        """Return the names of the processes of an engine that were started and not stopped."""
        return sorted(path.stem for path in self._run.glob("*.json") if _belongs(path.stem, name))

    def records(self, name: str) -> dict[str, Started]:
        """Return an engine's processes by name, as they were started; they may have ended since."""
        found = {}
        for process in self.processes(name):
            with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
                found[process] = msgspec.json.decode(self.record(process).read_bytes(), type=Started)
        return found

    def keep(self, process: str, started: Started) -> None:
        """Keep that a process was started."""
        temporary = self.record(process).with_suffix(".partial")
        temporary.write_bytes(msgspec.json.encode(started))
        temporary.replace(self.record(process))

    def record(self, process: str) -> Path:
        """Return the file that a started process is kept in."""
        return self._run / f"{process}.json"

    def output(self, process: str) -> Path:
        """Return the file that a process's output goes to."""
        return self.path / "logs" / f"{process}.out"

    def _check(self) -> None:
        """Raise FixRequest if the folder is not an engines folder but holds things."""
        if not self.path.is_dir() or (self.path / MARKER).exists():
            return
        found = {entry.name for entry in self.path.iterdir()}
        if LOCK not in found and found - OURS:
            raise FixRequest(str(self.path), "it holds other things; choose another folder with ENGINES_FOLDER=path")

    def _ports_of(self, base_port: int | None) -> int:
        try:
            kept = msgspec.json.decode((self.path / MARKER).read_bytes(), type=Marker).base_port
        except (FileNotFoundError, msgspec.DecodeError):
            return base_port or DEFAULT_PORT
        if base_port is not None and base_port != kept:
            raise FixRequest(
                "ENGINES_PORT", f"the engines of {self.path} listen from {kept} on; choose another ENGINES_FOLDER=path"
            )
        return kept


def _belongs(process: str, name: str) -> bool:
    number = process.removeprefix(f"{name}-")
    return process == name or (number != process and number.isdigit())
