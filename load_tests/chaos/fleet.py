"""The processes of a platform as a chaos run holds them: started, killed, frozen, woken, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

STOP_TIMEOUT_S: Final = 20.0


class Fleet:
    """Named child processes of this one; a name started again runs its command again."""

    def __init__(
        self,
        command_of: Callable[[str], Sequence[str]],
        environment: Mapping[str, str],
        logs: Path,
        descriptors: Sequence[int] = (),
    ) -> None:
        """command_of: arguments of Python for a name. environment: added to this process's own. logs: a folder.
        descriptors: open files of this process that all get (the socket that serving listens on)."""
        self._command_of = command_of
        self._environment = os.environ | environment
        self._logs = logs
        self._descriptors = descriptors
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._frozen: set[str] = set()
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str) -> None:
        """Start a process that is not running."""
        with (self._logs / f"{name}.log").open("ab") as log:
            command = [sys.executable, *self._command_of(name)]
            self._processes[name] = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=self._descriptors,
            )

    def kill(self, name: str) -> None:
        """Kill a process as the kernel does when memory runs out: at once, with nothing said."""
        process = self._processes[name]
        process.send_signal(signal.SIGKILL)
        process.wait()
        self._frozen.discard(name)

    def freeze(self, name: str) -> None:
        """Stop a process where it is, as a paused machine does; it knows nothing of it."""
        self._processes[name].send_signal(signal.SIGSTOP)
        self._frozen.add(name)

    def thaw(self, name: str) -> None:
        """Let a frozen process go on; nothing if it is not frozen (any more)."""
        if name in self._frozen:
            self._processes[name].send_signal(signal.SIGCONT)
            self._frozen.discard(name)

    def stop(self, name: str) -> None:
        """Stop a process as an operator does (SIGTERM), and kill it if it does not; it is forgotten then."""
        self.thaw(name)
        process = self._processes.pop(name)
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def names(self) -> list[str]:
        """Return the names of the processes that were started and not stopped, whether or not they still run."""
        return list(self._processes)

    def awake(self, prefix: str = "") -> list[str]:
        """Return the names, of those that begin with `prefix`, that run and are not frozen."""
        return [
            name
            for name, process in self._processes.items()
            if name.startswith(prefix) and name not in self._frozen and process.poll() is None
        ]

    def exit_code(self, name: str) -> int | None:
        """Return how a process ended, None while it runs."""
        return self._processes[name].poll()

    def wait(self, name: str, timeout_s: float) -> int:
        """Return a process's exit code once it has ended."""
        return self._processes[name].wait(timeout_s)

    def stop_all(self) -> None:
        """Stop whatever still runs, the last started first."""
        for name in reversed(self.names()):
            self.stop(name)

    def log_tail(self, name: str, lines: int = 15) -> str:
        """Return the end of what a process said."""
        path = self._logs / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""
