"""Waiting for something another process does, within a bound."""

from __future__ import annotations

import time
from collections.abc import Callable

BOUND_S = 15.0
"""Far more than anything here takes on a busy machine."""


def eventually(condition: Callable[[], bool]) -> None:
    """Return once the condition holds; fail after BOUND_S."""
    deadline_s = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never came to hold"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that has ended but is not reaped by its parent does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
