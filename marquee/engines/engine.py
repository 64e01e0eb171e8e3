"""What every engine says of itself: its ports, its processes, and whether it answers."""

from __future__ import annotations

import signal
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from marquee.engines.process import Command

HOST: Final = "127.0.0.1"
"""Engines without passwords listen nowhere else."""
CONNECT_S: Final = 2.0


@dataclass(frozen=True)
class Place:
    """Where an engine keeps its things, and how it runs.

    quick: start fast, with less memory. throwaway: for tests that never kill it, sync nothing.
    """

    folder: Path
    name: str
    base_port: int
    quick: bool
    throwaway: bool
    jars: Path

    @property
    def data(self) -> Path:
        """What a wipe removes."""
        return self.folder / "data" / self.name

    @property
    def conf(self) -> Path:
        """Configuration, written anew at each start."""
        return self.folder / "conf" / self.name

    @property
    def logs(self) -> Path:
        """The logs of all engines."""
        return self.folder / "logs"


class Engine(ABC):
    """One engine. `prepare` and `check` may block; `check` raises whatever it meets while there is no answer."""

    name: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    stop_s: ClassVar[float] = 30.0
    """How long it may take to stop cleanly; then it is killed."""
    ready_s: ClassVar[float] = 120.0
    """How long it may take to answer, on a loaded machine."""

    def __init__(self, place: Place) -> None:
        self.place = place

    @property
    @abstractmethod
    def ports(self) -> tuple[int, ...]:
        """The ports it listens on, the clients' first."""

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it, as MARQUEE_TEST_<NAME>_URL says it: without prefix or keyspace."""

    @property
    def settings(self) -> Mapping[str, str]:
        """What a platform's environment says to use it."""
        return {}

    @abstractmethod
    def missing(self) -> str | None:
        """Return what this machine lacks to run it, with what to do; None if nothing."""

    @abstractmethod
    def prepare(self) -> None:
        """Write its configuration, and its first data where there are none."""

    @abstractmethod
    def processes(self) -> dict[str, Command]:
        """Return its processes by name."""

    @abstractmethod
    def check(self) -> None:
        """Return if it answers a request."""

    def own_logs(self) -> list[Path]:
        """Return the logs that it writes itself, beside its processes' output."""
        return []


def is_open(port: int) -> bool:
    """Return whether something listens on a port of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(CONNECT_S)
        return probe.connect_ex((HOST, port)) == 0
