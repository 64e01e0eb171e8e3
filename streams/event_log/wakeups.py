"""Appends wake waiting consumers, in any process, through named pipes; so waiting costs next to nothing.

A consumer keeps one pipe per topic in the topic's folder of waiters; an append writes a byte into each. It is a hint: a
consumer also looks by itself now and then, and where pipes cannot be had it only does that, more often.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

MAX_PAUSE_S: Final = 0.01
"""Without pipes, how long a wait lasts at most before the caller looks again."""

DRAIN_BYTES: Final = 65_536
"""A pipe's capacity on Linux: one read empties it."""


class Waiter:
    """The consumer's side: waits until one of some topics was appended to. Not thread-safe."""

    def __init__(self, folders: Iterable[Path], name: str) -> None:
        self._pipes: dict[Path, int] = {}
        self._poller = select.poll()
        with contextlib.suppress(OSError):
            for folder in folders:
                self._add(folder, name)

    def wait(self, timeout_s: float) -> None:
        """Return after an append, or after `timeout_s`; it may return earlier without reason."""
        if not self._pipes:
            time.sleep(min(timeout_s, MAX_PAUSE_S))
            return
        for pipe, _ in self._poller.poll(timeout_s * 1000):
            with contextlib.suppress(BlockingIOError):
                os.read(pipe, DRAIN_BYTES)

    def close(self) -> None:
        """Remove the pipes."""
        for path, pipe in self._pipes.items():
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            os.close(pipe)
        self._pipes.clear()

    def _add(self, folder: Path, name: str) -> None:
        """Open a pipe, and only then show it: producers remove pipes that nobody reads."""
        folder.mkdir(parents=True, exist_ok=True)
        hidden, shown = folder / f".{name}", folder / name
        os.mkfifo(hidden)
        pipe = os.open(hidden, os.O_RDWR | os.O_NONBLOCK)  # also as its writer, so that it never reports an end
        self._pipes[shown] = pipe
        self._poller.register(pipe, select.POLLIN)
        hidden.rename(shown)


class Bell:
    """The producer's side, for one topic. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._listed_at_ns = -1
        self._pipes: dict[str, int] = {}

    def ring(self) -> None:
        """Wake all consumers that wait for the topic."""
        with self._lock, contextlib.suppress(OSError):
            changed_ns = os.stat(self._folder).st_mtime_ns
            if changed_ns != self._listed_at_ns:
                self._open_new()
                self._listed_at_ns = changed_ns
            for name, pipe in list(self._pipes.items()):
                self._wake(name, pipe)

    def close(self) -> None:
        """Close the pipes; the bell still rings after it."""
        with self._lock:
            for pipe in self._pipes.values():
                os.close(pipe)
            self._pipes.clear()
            self._listed_at_ns = -1

    def _open_new(self) -> None:
        for entry in os.scandir(self._folder):
            if not entry.name.startswith(".") and entry.name not in self._pipes:
                try:
                    self._pipes[entry.name] = os.open(entry.path, os.O_WRONLY | os.O_NONBLOCK)
                except OSError:  # nobody reads it any more
                    Path(entry.path).unlink(missing_ok=True)

    def _wake(self, name: str, pipe: int) -> None:
        try:
            os.write(pipe, b"\0")
        except BlockingIOError:
            pass  # it is full: the consumer has more than enough reason to wake
        except OSError:
            os.close(self._pipes.pop(name))
            (self._folder / name).unlink(missing_ok=True)
