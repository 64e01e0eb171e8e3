"""Reads a member's state for a page: the hot store in one round trip, the durable store where that does not know.

The hot store is read on the event loop: an embedded one takes microseconds, one behind a network is awaited within its
timeout. It is left alone for a while when it takes its time to fail. The durable store is read in a few threads.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

from serving.homepage.circuit_breaker import BreakerPolicy, CircuitBreaker
from serving.homepage.guarded_threads import GuardedThreads, unavailable
from serving.homepage.page_cache import CachedPage, page_name
from streams.errors import MarqueeError, TryAgain
from streams.stores.live_reads import LiveReads
from streams.stores.protocol import DurableStore, StateEntry, StateStore, tombstone, version_of

DURABLE_SHARE: Final = 0.2
"""Of a page's deadline, for a read of the durable store; one of an unlocked SQLite file takes a hundredth of it."""

DURABLE_THREADS: Final = 2
"""More would not help: SQLite reads are CPU work on a cached file, and a locked file holds any number of threads."""

HOT_POLICY: Final = BreakerPolicy(max_open_s=2.0)
"""A hot store that hangs costs one page in two seconds its timeout."""

INSTANT_S: Final = 0.01
"""A failure of the hot store that comes sooner costs nothing, and is no reason to leave it alone: its recovery is then
seen at once."""

OTHER_SHARE: Final = 0.2
"""Of a page's deadline, for a precomputed page, which is looked for after that deadline has passed."""

MAX_REFILLS: Final = 256
"""States that wait to be put back into the hot store; one over that is put back when it is next asked for."""


class MemberState(NamedTuple):
    """A member's packed state, None for a member without events; its version (a tombstone's too, 0 for none);
    and what was away while it was read, None if nothing was."""

    value: bytes | None
    version: int
    away: str | None


class HotLook(NamedTuple):
    """What the hot store said: as in LiveState; all empty, and why, if it could not be asked."""

    value: bytes | None
    version: int
    page: bytes | None
    away: str | None


class StateReader:
    """Reads the states of one kind. Its methods belong to one event loop."""

    def __init__(
        self,
        hot: StateStore,
        live: LiveReads,
        durable: DurableStore,
        kind: str,
        page_deadline_s: float,
        *,
        durable_share: float = DURABLE_SHARE,
        durable_threads: int = DURABLE_THREADS,
        breaker: BreakerPolicy | None = None,
    ) -> None:
        """live: reads of `hot`, which itself is only written to, in a thread. page_deadline_s: what the deadlines of
        reads are shares of."""
        self._hot = hot
        self._live = live
        self._durable = durable
        self._kind = kind
        self._hot_breaker = CircuitBreaker(HOT_POLICY)
        deadline_s = page_deadline_s * durable_share
        self._threads = GuardedThreads("durable store", durable_threads, deadline_s, breaker or BreakerPolicy())
        self._other_deadline_s = page_deadline_s * OTHER_SHARE
        self._refiller = ThreadPoolExecutor(1, thread_name_prefix="hot-refill")
        self._refills: set[Future[None]] = set()

    def known_version(self, key: bytes) -> int | None:
        """Return the version of the state in the hot store if that is known without asking it, else None."""
        return self._live.known_version(self._kind, key)

    async def look(self, key: bytes, page: bytes | None = None) -> HotLook:
        """Return what the hot store has: the state, and the shared page of the name `page`. Raises nothing."""
        started_s = time.monotonic()
        if not self._hot_breaker.allows(started_s):
            return HotLook(None, 0, None, self._hot_breaker.reason)
        try:
            found = await self._live.read(self._kind, key, page)
        except Exception as error:  # noqa: BLE001 - whatever ails the hot store, the durable one may answer
            reason, now_s = unavailable("hot store", error), time.monotonic()
            if now_s - started_s >= INSTANT_S:
                self._hot_breaker.failed(now_s, reason)
            return HotLook(None, 0, None, reason)
        self._hot_breaker.succeeded()
        return HotLook(*found, None)

    async def read_durable(self, key: bytes, away: str | None) -> MemberState:
        """Return the durable store's state of a member whom the hot one does not know, or (`away`) cannot tell of.

        A state that only the durable store has is put into the hot one. Raises TryAgain if it cannot be read.
        """
        try:
            found, version = await self._threads.run(lambda: _read_state(self._durable, self._kind, key))
        except TryAgain as error:
            raise TryAgain(f"{away}; {error}" if away else str(error)) from error
        if version and away is None:
            self._refill(StateEntry(key, tombstone(version >> 1) if found is None else found))
        return MemberState(found, version, away)

    async def durable_version(self, key: bytes) -> int:
        """Return the version of the state in the durable store. Raises TryAgain if it cannot be read."""
        return await self._threads.run(lambda: self._durable.versions(self._kind, [key])[0])

    async def read_other(self, kind: str, key: bytes) -> bytes | None:
        """Return a value of another kind, hot or else durable, None where neither has it or can be read in time."""
        try:
            async with asyncio.timeout(self._other_deadline_s):
                found = await self._hot_value(kind, key)
                return found or await self._threads.run(lambda: self._durable.get(kind, [key])[0])
        except (TryAgain, TimeoutError):
            return None

    def put_page(self, page: CachedPage, value: bytes, ttl_s: float) -> None:
        """Have a page shared, soon, for at most `ttl_s`; it is dropped if its state has changed by then."""
        self._live.put_page(self._kind, page.member_key, page.version, page_name(page.key), value, ttl_s)

    @property
    def durable_problem(self) -> str | None:
        """Why the durable store is being left alone, None if it is not."""
        return self._threads.problem

    def close(self) -> None:
        """Let go of the threads; a read that hangs is not waited for."""
        self._threads.close()
        self._refiller.shutdown(wait=False, cancel_futures=True)

    async def _hot_value(self, kind: str, key: bytes) -> bytes | None:
        if self._hot_breaker.is_open:
            return None
        try:
            return (await self._live.read(kind, key)).value
        except Exception:  # noqa: BLE001 - as in `look`
            return None

    def _refill(self, entry: StateEntry) -> None:
        """Put a state or tombstone that the hot store has lost back into it; a newer one that came meanwhile stays."""
        if len(self._refills) >= MAX_REFILLS:
            return

        def put() -> None:
            try:
                self._hot.put(self._kind, [entry])
            except MarqueeError:
                return  # the next read finds it in the durable store again

        future = self._refiller.submit(put)
        self._refills.add(future)
        future.add_done_callback(self._refills.discard)


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
