"""The engines as processes of this machine: started, stopped, killed and frozen one by one, each by its name."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, Literal

import msgspec

from marquee.engines.cassandra import Cassandra
from marquee.engines.engine import Engine, Place, is_open
from marquee.engines.folder import DEFAULT_FOLDER as DEFAULT_FOLDER
from marquee.engines.folder import DEFAULT_PORT as DEFAULT_PORT
from marquee.engines.folder import STATE, EnginesFolder
from marquee.engines.kafka import Kafka
from marquee.engines.postgres import Postgres
from marquee.engines.process import Started, family, is_frozen, is_running, kill, send, spawn, wait_for_end, wait_until
from marquee.engines.redis import Redis, RedisCluster
from marquee.engines.tail import last_lines, roll
from streams.errors import FixRequest, TryAgain

KINDS: Final[tuple[type[Engine], ...]] = (Kafka, Cassandra, Redis, Postgres, RedisCluster)
PLATFORM: Final = ("kafka", "cassandra", "redis", "postgres")
"""What a platform runs on."""
POLL_S: Final = 0.1
LAST_LINES: Final = 12
SIGNAL_S: Final = 10.0
"""How long a signal may take to be heeded: a process that waits for the disk heeds none."""

State = Literal["running", "frozen", "dead", "stopped"]


class EngineStatus(msgspec.Struct, frozen=True):
    """How an engine is. dead: it ended though nobody stopped it; last_lines tells why. answers: None unless asked."""

    name: str
    state: State
    url: str
    pids: list[int] = []
    answers: bool | None = None
    log: str = ""
    last_lines: list[str] = []


class Engines:
    """The engines of one folder. Several processes may use it at once; whoever started an engine, all can stop it.

    base_port: for a new folder; one that has its ports keeps them. quick, throwaway: see Place. jars: where Maven puts
    them; the folder's own otherwise. FixRequest says why an engine cannot be started at all, TryAgain why it is silent.
    """

    def __init__(
        self,
        folder: Path,
        base_port: int | None = None,
        *,
        quick: bool = False,
        throwaway: bool = False,
        jars: Path | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self._files = EnginesFolder(self.folder, base_port)
        self.base_port = self._files.base_port
        self._jars = (jars or folder / "jars").absolute()
        self._engines = {kind.name: kind(self._place(kind.name, quick, throwaway)) for kind in KINDS}

    def url(self, name: str) -> str:
        """Return where clients find an engine, whether it runs or not."""
        return self._engine(name).url

    def ports(self, name: str) -> tuple[int, ...]:
        """Return the ports of an engine, the clients' first."""
        return self._engine(name).ports

    def environment(self, names: Sequence[str] = PLATFORM) -> dict[str, str]:
        """Return what a platform's environment says to run on these engines."""
        return {key: value for name in names for key, value in self._engine(name).settings.items()}

    def missing(self, name: str) -> str | None:
        """Return what this machine lacks to run an engine, None if nothing."""
        return self._engine(name).missing()

    def start(self, name: str, *, wipe: bool = False) -> None:
        """Start an engine, with its data or without, and return once it answers; one that runs is only waited for."""
        self._spawn(name, wipe)
        self.wait_until_ready(name)

    def start_all(self, names: Sequence[str], on_ready: Callable[[str], None] = lambda _name: None) -> None:
        """Start engines, all at once. The first error is raised once all have been waited for."""

        def start(name: str) -> None:
            self.start(name)
            on_ready(name)

        if lacking := {name: why for name in names if (why := self.missing(name)) is not None}:
            raise FixRequest(", ".join(lacking), "; ".join(dict.fromkeys(lacking.values())))
        with ThreadPoolExecutor(max_workers=len(names) or 1, thread_name_prefix="engine") as pool:
            for future in [pool.submit(start, name) for name in names]:
                future.result()

    def stop(self, name: str) -> bool:
        """Stop an engine cleanly, or kill it when that takes too long; return whether it ended by itself."""
        engine, clean = self._engine(name), True
        if not self._files.records(name):
            return clean
        with self._files.lock(name):
            records = self._files.records(name)
            for started in records.values():
                send(started, signal.SIGCONT)
                send(started, engine.stop_signal)
            for process, started in records.items():
                if not wait_for_end([started], engine.stop_s):
                    kill(started)
                    clean = False
                self._files.record(process).unlink(missing_ok=True)
        return clean

    def kill(self, name: str) -> None:
        """End an engine and all its children as the kernel does, at once; its data stay. Status calls it dead."""
        for started in self._files.records(self._engine(name).name).values():
            kill(started)

    def freeze(self, name: str) -> None:
        """Freeze an engine: its ports are open and nothing answers."""
        self._signal_family(name, signal.SIGSTOP)
        wait_until(lambda: _state_of(list(self._files.records(name).values())) != "running", SIGNAL_S)

    def thaw(self, name: str) -> None:
        """Let a frozen engine go on."""
        self._signal_family(name, signal.SIGCONT)

    def wait_until_ready(self, name: str) -> None:
        """Return once an engine answers, whoever started it. Raises TryAgain when it ended or takes too long."""
        engine, error = self._engine(name), ""
        deadline_s = time.monotonic() + engine.ready_s
        while time.monotonic() < deadline_s:
            if not all(is_running(started) for started in self._files.records(name).values()):
                raise TryAgain(f"{name} ended as it started: " + " | ".join(self._last_lines(name)[-3:]))
            try:
                engine.check()
            except Exception as problem:  # noqa: BLE001 - each client has errors of its own; they end with the deadline
                error = f"{type(problem).__name__}: {problem}"
                time.sleep(POLL_S)
            else:
                return
        raise TryAgain(f"{name} does not answer after {engine.ready_s:g} s ({error}); see {self.folder / 'logs'}")

    def status(self, *, ask: bool = False) -> list[EngineStatus]:
        """Return how each engine is. ask: ask the running ones for an answer, which may take seconds."""
        return [self._status(name, ask) for name in self._engines]

    def running(self) -> list[str]:
        """Return the names of the engines that run (or are frozen)."""
        return [name for name in self._engines if any(map(is_running, self._files.records(name).values()))]

    def wipe(self) -> None:
        """Remove the data of all engines and the state of the platform on them. Raises FixRequest while one runs."""
        if alive := self.running():
            raise FixRequest(", ".join(alive), "stop it before its data are removed")
        for name in ("data", "conf", "logs", "run", STATE):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _spawn(self, name: str, wipe: bool) -> None:
        engine = self._engine(name)
        with self._files.lock(name):
            if any(is_running(started) for started in self._files.records(name).values()):
                if wipe:
                    raise FixRequest(name, "stop it before its data are removed")
                return
            if taken := [port for port in engine.ports if is_open(port)]:
                raise FixRequest(
                    name, f"port {taken[0]} is another's; choose other ports with ENGINES_PORT=n (now {self.base_port})"
                )
            if why := engine.missing():
                raise FixRequest(name, why)
            if wipe:
                shutil.rmtree(engine.place.data, ignore_errors=True)
            engine.place.logs.mkdir(parents=True, exist_ok=True)
            engine.prepare()
            for process, command in engine.processes().items():
                output = self._files.output(process)
                roll(output)
                self._files.keep(process, spawn(command, output))

    def _status(self, name: str, ask: bool) -> EngineStatus:
        engine, records = self._engine(name), self._files.records(name)
        state = _state_of(list(records.values()))
        answers = None
        if ask and state == "running":
            try:
                engine.check()
                answers = True
            except Exception:  # noqa: BLE001 - of whatever kind: it is no answer
                answers = False
        return EngineStatus(
            name,
            state,
            engine.url,
            [started.pid for started in records.values()],
            answers,
            next(map(str, self._logs_of(name)), ""),
            self._last_lines(name) if state == "dead" or answers is False else [],
        )

    def _signal_family(self, name: str, number: signal.Signals) -> None:
        for started in self._files.records(self._engine(name).name).values():
            for each in family(started):
                send(each, number)

    def _last_lines(self, name: str) -> list[str]:
        return last_lines(self._logs_of(name), LAST_LINES)

    def _logs_of(self, name: str) -> list[Path]:
        engine = self._engine(name)
        outputs = [self._files.output(process) for process in self._files.processes(name)]
        return [*engine.own_logs(), *outputs]

    def _place(self, name: str, quick: bool, throwaway: bool) -> Place:
        return Place(self.folder, name, self.base_port, quick, throwaway, self._jars)

    def _engine(self, name: str) -> Engine:
        try:
            return self._engines[name]
        except KeyError:
            raise FixRequest(name, f"there is no such engine; there are {', '.join(self._engines)}") from None


def _state_of(processes: Sequence[Started]) -> State:
    if not processes:
        return "stopped"
    if not all(map(is_running, processes)):
        return "dead"
    return "frozen" if all(map(is_frozen, processes)) else "running"
