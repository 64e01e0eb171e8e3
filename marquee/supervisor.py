"""Keeps child processes running: starts them, starts dead ones again, stops them in order.

A child is started in a session of its own, so that Ctrl-C reaches the supervisor alone, which then stops the children
in the reverse of the order they were started in. A child's standard input is its lifeline (see marquee.lifeline).
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from marquee.bounded_log import BoundedLog
from marquee.lifeline import SUPERVISED
from marquee.restart_policy import RestartPolicy

STOP_S: Final = 10.0
"""How long a child may take to stop after SIGTERM; then it is killed."""
LAST_LINES: Final = 8
MAX_LINE_BYTES: Final = 64 * 1024

Say = Callable[[str], None]


@dataclass(frozen=True)
class ChildSpec:
    """A child to keep running: its name (and that of its log file), its command, what to add to the environment, and
    the file descriptors of this process that it gets, under the same numbers."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    descriptors: Sequence[int] = ()


class Supervisor:
    """Runs children until `stop`. `say` gets a sentence whenever a child dies or is started again; from any thread."""

    def __init__(self, logs: Path, say: Say, policy: RestartPolicy | None = None, stop_s: float = STOP_S) -> None:
        self._logs = logs
        self._say = say
        self._policy = policy or RestartPolicy()
        self._stop_s = stop_s
        self._children: dict[str, Child] = {}

    def start(self, spec: ChildSpec) -> None:
        """Start a child and keep it running; one of the same name is stopped first and takes its place in the order."""
        if spec.name in self._children:
            self._children[spec.name].stop(self._stop_s)
        child = Child(spec, self._logs / f"{spec.name}.log", self._say, self._policy)
        self._children[spec.name] = child
        child.start()

    def pid(self, name: str) -> int | None:
        """Return a child's process id, None while it is not running."""
        return self._children[name].pid

    def stop(self) -> None:
        """Stop all children, the last started first, each cleanly or, after a bound, with SIGKILL."""
        for child in reversed(list(self._children.values())):
            child.stop(self._stop_s)


class Child:
    """One child process, watched by a thread of its own."""

    def __init__(self, spec: ChildSpec, log: Path, say: Say, policy: RestartPolicy) -> None:
        self._spec = spec
        self._log_path = log
        self._log = BoundedLog(log)
        self._say = say
        self._policy = policy
        self._process: subprocess.Popen[bytes] | None = None
        self._last_lines: deque[bytes] = deque(maxlen=LAST_LINES)
        self._stopping = threading.Event()
        self._spawning = threading.Lock()
        self._thread = threading.Thread(target=self._keep_running, name=f"child-{spec.name}", daemon=True)

    @property
    def pid(self) -> int | None:
        """The process id, None while it is not running."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> None:
        """Start the process and the thread that watches it."""
        self._thread.start()

    def stop(self, stop_s: float) -> None:
        """Stop the process: SIGTERM, and SIGKILL once `stop_s` seconds have passed."""
        self._stopping.set()
        with self._spawning:
            process = self._process
        if process is not None and process.poll() is None:
            _signal(process, signal.SIGTERM)
            try:
                process.wait(stop_s)
            except subprocess.TimeoutExpired:
                self._say(f"{self._spec.name} did not stop within {stop_s:g} s; killing it")
                _signal(process, signal.SIGKILL)
        if self._thread.ident is not None:
            self._thread.join()
        self._log.close()

    def _keep_running(self) -> None:
        deaths = 0
        while not self._stopping.is_set():
            started_s = time.monotonic()
            ending = self._run_once()
            if self._stopping.is_set():
                return
            deaths = self._policy.deaths_after(deaths, time.monotonic() - started_s)
            wait_s = self._policy.wait_s(deaths)
            self._say(self._obituary(ending, deaths, wait_s))
            self._stopping.wait(wait_s)

    def _run_once(self) -> str:
        """Start the process and wait for its end; return how it ended."""
        try:
            with self._spawning:
                if self._stopping.is_set():
                    return "was stopped"
                process = self._spawn()
                self._process = process
        except OSError as error:
            return f"could not be started ({error})"
        pump = threading.Thread(target=self._pump, args=(process,), name=f"log-{self._spec.name}", daemon=True)
        pump.start()
        code = process.wait()
        pump.join(1.0)  # a grandchild may hold the pipe open for longer
        if process.stdin is not None:
            process.stdin.close()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603 - our own commands
            self._spec.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self._spec.environment, SUPERVISED: "1"},
            start_new_session=True,
            pass_fds=self._spec.descriptors,
        )

    def _pump(self, process: subprocess.Popen[bytes]) -> None:
        """Copy what the process writes to its log, until it ends."""
        output = process.stdout
        if output is None:
            return
        with output:
            while line := output.readline(MAX_LINE_BYTES):
                self._last_lines.append(line)
                self._log.write(line)

    def _obituary(self, ending: str, deaths: int, wait_s: float) -> str:
        name = self._spec.name
        if deaths < self._policy.worrying:
            return f"{name} {ending}; starting it again in {wait_s:g} s"
        words = [line.decode(errors="replace").strip() for line in self._last_lines]
        last = next((word for word in reversed(words) if word), "nothing")
        return (
            f"{name} keeps dying ({deaths} times in a row; it {ending}). Its last words: {last} "
            f"More in {self._log_path}. Trying again in {wait_s:g} s"
        )


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal a process that may have ended by now."""
    try:
        process.send_signal(number)
    except ProcessLookupError:
        return
