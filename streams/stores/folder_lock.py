"""A lock on a folder, for the moment in which a store's files are created or replaced."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TIMEOUT_S: Final = 1.0
"""How long to wait while another process opens a store in the same folder; it takes milliseconds."""

_POLL_S: Final = 0.005


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that of several processes that find files gone only one replaces them.

    The lock is the kernel's (flock): it goes with the process that holds it. Raises OSError, after TIMEOUT_S too.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        deadline_s = time.monotonic() + TIMEOUT_S
        while not _try_lock(handle):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"another process has been opening a store in {folder} for {TIMEOUT_S} s")
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
