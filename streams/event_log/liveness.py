"""Whether another process of this machine still lives, by its id and start time (ids come again, the pair does not)."""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path

import msgspec


class ProcessIdentity(msgspec.Struct, frozen=True, array_like=True):
    """A process. host: names the boot and the space of process ids, within which pid means something."""

    host: str
    pid: int
    started: str


def this_process() -> ProcessIdentity:
    """Return the identity of the calling process."""
    return _identity(os.getpid())


@lru_cache(maxsize=4)
def _identity(pid: int) -> ProcessIdentity:
    return ProcessIdentity(_host(), pid, _started(pid))


def is_dead(process: ProcessIdentity) -> bool:
    """Return whether a process has certainly ended. One of another host may live: only its session's end can tell."""
    if process.host != this_process().host:
        return False
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it lives, under another user
    return bool(process.started) and _started(process.pid) not in (process.started, "")


def _host() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _started(pid: int) -> str:
    """Return a process's start time in clock ticks since boot; a zombie (ended, not yet waited for) has none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "ended" if fields[0] in "ZX" else fields[19]
