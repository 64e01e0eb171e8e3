"""Reads a member's state for a page: the hot store in one lookup, the durable store where that does not know.

The hot store is read on the event loop, which takes microseconds. The durable store may be locked for seconds: it is
read in a few threads, each read within a deadline, and left alone for a while after it has failed.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, NamedTuple, TypeVar

from serving.homepage.circuit_breaker import BreakerPolicy, CircuitBreaker
from streams.errors import MarqueeError, TryAgain
from streams.stores.protocol import DurableStore, StateEntry, StateStore, tombstone, version_of

T = TypeVar("T")

DURABLE_DEADLINE_S: Final = 0.05
"""A fifth of a page's deadline; a read of an unlocked SQLite file takes a hundredth of it."""

DURABLE_THREADS: Final = 2
"""More would not help: SQLite reads are CPU work on a cached file, and a locked file holds any number of threads."""

MAX_REASON_CHARS: Final = 200
_PATH: Final = re.compile(r"(?:/[^/\s'\":]+)+/([^/\s'\":]+)")

MAX_WAITING: Final = 64
"""Durable reads that wait or run; behind so many, a read would miss its deadline anyhow."""


class MemberState(NamedTuple):
    """A member's packed state, None for a member without events; its version (a tombstone's too, 0 for none);
    and what was away while it was read, None if nothing was."""

    value: bytes | None
    version: int
    away: str | None


class StateReader:
    """Reads the states of one kind. Its methods belong to one event loop. Raises TryAgain when no store can answer."""

    def __init__(
        self,
        hot: StateStore,
        durable: DurableStore,
        kind: str,
        *,
        durable_deadline_s: float = DURABLE_DEADLINE_S,
        breaker: BreakerPolicy | None = None,
    ) -> None:
        self._hot = hot
        self._durable = durable
        self._kind = kind
        self._deadline_s = durable_deadline_s
        self._breaker = CircuitBreaker(breaker or BreakerPolicy())
        self._pool = ThreadPoolExecutor(DURABLE_THREADS, thread_name_prefix="durable-read")
        self._running: set[Future[Any]] = set()

    async def read(self, key: bytes) -> MemberState:
        """Return the newest state that can be read. A state found in the durable store only is put into the hot one."""
        away = None
        try:
            found, version = _read_state(self._hot, self._kind, key)
            if version:
                return MemberState(found, version, None)
        except Exception as error:  # noqa: BLE001 - whatever ails the hot store, the durable one may answer
            away = unavailable("hot store", error)
        return await self._read_durable(key, away)

    async def durable_version(self, key: bytes) -> int:
        """Return the version of the state in the durable store."""
        return await self._in_thread(lambda: self._durable.versions(self._kind, [key])[0])

    async def read_other(self, kind: str, key: bytes) -> bytes | None:
        """Return a value of another kind, hot or else durable, None where neither has it or can be read."""
        try:
            found = self._hot.get(kind, [key])[0]
        except Exception:  # noqa: BLE001 - as in `read`
            found = None
        if found is not None:
            return found
        try:
            return await self._in_thread(lambda: self._durable.get(kind, [key])[0])
        except TryAgain:
            return None

    @property
    def durable_problem(self) -> str | None:
        """Why the durable store is being left alone, None if it is not."""
        return self._breaker.reason if self._breaker.is_open else None

    def close(self) -> None:
        """Let go of the threads; a read that hangs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _read_durable(self, key: bytes, away: str | None) -> MemberState:
        try:
            found, version = await self._in_thread(lambda: _read_state(self._durable, self._kind, key))
        except TryAgain as error:
            raise TryAgain(f"{away}; {error}" if away else str(error)) from error
        if version and away is None:
            self._refill(StateEntry(key, tombstone(version >> 1) if found is None else found))
        return MemberState(found, version, away)

    def _refill(self, entry: StateEntry) -> None:
        """Put a state or tombstone that the hot store has lost back into it; a newer one that came meanwhile stays."""

        def put() -> None:
            try:
                self._hot.put(self._kind, [entry])
            except MarqueeError:
                return  # the next read finds it in the durable store again

        self._pool.submit(put)

    async def _in_thread(self, read: Callable[[], T]) -> T:
        """Return what a durable read returns. Raises TryAgain if it fails, takes too long, or is not tried."""
        if not self._breaker.allows(time.monotonic()):
            raise TryAgain(self._breaker.reason)
        if len(self._running) >= MAX_WAITING:
            raise TryAgain(f"durable store busy: {MAX_WAITING} reads are waiting")
        future = self._pool.submit(read)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        try:
            async with asyncio.timeout(self._deadline_s):
                result = await asyncio.wrap_future(future)
        except TimeoutError:
            raise self._failed(
                f"durable store unavailable (no answer within {self._deadline_s * 1000:.0f} ms)"
            ) from None
        except Exception as error:  # whatever ails the durable store, the page falls down the ladder
            raise self._failed(unavailable("durable store", error)) from error
        self._breaker.succeeded()
        return result

    def _failed(self, reason: str) -> TryAgain:
        self._breaker.failed(time.monotonic(), reason)
        return TryAgain(reason)


def _read_state(store: StateStore, kind: str, key: bytes) -> tuple[bytes | None, int]:
    """Return a state's value, None where absent or deleted, and its version.

    The version of what is not there is read before it is looked for again: a state that is written meanwhile has a
    higher one, and is not taken for included.
    """
    found = store.get(kind, [key])[0]
    if found is None:
        version = store.versions(kind, [key])[0]
        found = store.get(kind, [key])[0]
        if found is None:
            return None, version
    return found, version_of(found)


def unavailable(part: str, error: BaseException) -> str:
    """Return the words for a part that fails: the first line of the error, without the folders of paths in it.

    >>> unavailable("hot store", OSError("/srv/state/hot cannot be opened"))
    'hot store unavailable (hot cannot be opened)'
    """
    lines = str(error).splitlines() or [error.__class__.__name__]
    reason = _PATH.sub(r"\1", lines[0][:MAX_REASON_CHARS])
    return f"{part} unavailable ({reason})"
