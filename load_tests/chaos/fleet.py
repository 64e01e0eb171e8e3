"""The processes of a platform as a chaos run holds them: started, killed with -9, started again, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

STOP_TIMEOUT_S: Final = 20.0


class Fleet:
    """Named child processes of this one; each restart runs the same command."""

    def __init__(self, commands: Mapping[str, Sequence[str]], environment: Mapping[str, str], logs: Path) -> None:
        """commands: arguments of Python, by name. environment: added to this process's own. logs: a folder."""
        self._commands = commands
        self._environment = os.environ | environment
        self._logs = logs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str) -> None:
        """Start a process that is not running."""
        with (self._logs / f"{name}.log").open("ab") as log:
            command = [sys.executable, *self._commands[name]]
            self._processes[name] = subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self, name: str) -> None:
        """Kill a process as the kernel does when memory runs out: at once, with nothing said."""
        process = self._processes[name]
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self, name: str) -> None:
        """Stop a process as an operator does (SIGTERM), and kill it if it does not."""
        process = self._processes[name]
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def exit_code(self, name: str) -> int | None:
        """Return how a process ended, None while it runs."""
        return self._processes[name].poll()

    def running(self) -> list[str]:
        """Return the names of the processes that run."""
        return [name for name, process in self._processes.items() if process.poll() is None]

    def wait(self, name: str, timeout_s: float) -> int:
        """Return a process's exit code once it has ended."""
        return self._processes[name].wait(timeout_s)

    def stop_all(self) -> None:
        """Stop whatever still runs."""
        for name in self.running():
            self.stop(name)

    def log_tail(self, name: str, lines: int = 15) -> str:
        """Return the end of what a process said."""
        path = self._logs / f"{name}.log"
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""
