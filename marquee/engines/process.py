"""Processes that outlive the one which starts them, and that are never mistaken for another's.

A process is known by its id and the moment it was started: an id alone may be someone else's by now.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

POLL_S: Final = 0.02
KILLED_S: Final = 10.0
"""How long the kernel may take to end a killed process and free its memory."""
_DETACH: Final = '"$@" >&2 & echo $!'
"""The shell ends at once, so the process is nobody's child: it needs no reaping, and its output goes to a file."""


@dataclass(frozen=True)
class Command:
    """What to run. user: whom to run it as, None for oneself."""

    argv: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None


class Started(msgspec.Struct, frozen=True):
    """A process that was started, and when (in the system's own words)."""

    pid: int
    moment: str


def spawn(command: Command, output: Path) -> Started:
    """Start a process in a session of its own, its output in a file. Raises OSError when that cannot be."""
    with output.open("wb") as file:
        shell = subprocess.run(  # noqa: S603 - our own commands
            ["/bin/sh", "-c", _DETACH, "sh", *command.argv],
            cwd=command.folder,
            env={**os.environ, **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=file,
            start_new_session=True,
            user=command.user,
            group=None if command.user is None else _group_of(command.user),
            extra_groups=None if command.user is None else [],
            check=True,
        )
    pid = int(shell.stdout)
    return Started(pid, moment_of(pid) or "ended at once")


def is_running(process: Started) -> bool:
    """Return whether this very process still runs."""
    return moment_of(process.pid) == process.moment


def moment_of(pid: int) -> str | None:
    """Return when the process of an id was started, None if there is none (or only what its parent has not reaped)."""
    if not Path("/proc/self/stat").exists():
        return _moment_by_ps(pid)
    stat = _stat(pid)
    return None if stat is None or _is_over(stat) else stat[19]


def is_frozen(process: Started) -> bool:
    """Return whether a running process is stopped by a signal."""
    stat = _stat(process.pid)
    return stat is not None and stat[0] == "T"


def send(process: Started, number: signal.Signals) -> bool:
    """Signal this very process, if it still runs; return whether it did."""
    if not hasattr(os, "pidfd_open"):
        running = is_running(process)
        with contextlib.suppress(ProcessLookupError):
            if running:
                os.kill(process.pid, number)
        return running
    try:
        handle = os.pidfd_open(process.pid)  # from here on it cannot become another's
    except ProcessLookupError:
        return False
    try:
        running = is_running(process)
        with contextlib.suppress(ProcessLookupError):
            if running:
                signal.pidfd_send_signal(handle, number)
        return running
    finally:
        os.close(handle)


def family(process: Started) -> list[Started]:
    """Return a running process and its descendants, itself first."""
    if not is_running(process):
        return []
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        stat = _stat(int(entry.name))
        if stat is not None:
            parents.setdefault(int(stat[1]), []).append(int(entry.name))
    found = [process]
    for each in found:
        for child in parents.get(each.pid, ()):
            moment = moment_of(child)
            if moment is not None:
                found.append(Started(child, moment))
    return found


def kill(process: Started) -> None:
    """End a process and its descendants as the kernel does, and return once they have ended."""
    relatives = family(process)
    for each in relatives:
        send(each, signal.SIGKILL)
    wait_for_end(relatives, KILLED_S)


def works_in(folder: Path) -> bool:
    """Return whether a living process has this folder as its own; True where that cannot be told."""
    entries = list(Path("/proc").glob("[0-9]*/cwd"))
    return not entries or any(_target(entry) == folder for entry in entries)


def wait_for_end(processes: Sequence[Started], within_s: float) -> bool:
    """Return whether all of these have ended within so many seconds."""
    return wait_until(lambda: not any(map(is_running, processes)), within_s)


def wait_until(condition: Callable[[], bool], within_s: float) -> bool:
    """Return whether a condition came to hold within so many seconds."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(POLL_S)
    return True


def _stat(pid: int) -> list[str] | None:
    """Return what the kernel says of a process, from its state (R, S, T, Z, …) on; None if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def _target(link: Path) -> Path | None:
    try:
        return link.readlink()
    except OSError:  # it has ended, or is another user's
        return None


def _is_over(stat: Sequence[str]) -> bool:
    """Return whether only a parent's reaping is left; a process whose threads are still ending keeps its ports."""
    return stat[0] in "ZX" and int(stat[17]) <= 1


def _moment_by_ps(pid: int) -> str | None:
    """Return the same where there is no /proc."""
    shown = subprocess.run(  # noqa: S603
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    state, _, moment = shown.stdout.strip().partition(" ")
    return None if not moment or state.startswith("Z") else moment.strip()


def _group_of(user: str) -> int:
    import pwd

    return pwd.getpwnam(user).pw_gid
