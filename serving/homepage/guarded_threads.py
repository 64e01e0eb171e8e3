"""Blocking reads of a store that may hang: in a few threads, each within a deadline, and left alone after failures."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

from serving.homepage.circuit_breaker import BreakerPolicy, CircuitBreaker
from streams.errors import TryAgain

T = TypeVar("T")

MAX_REASON_CHARS: Final = 200
_PATH: Final = re.compile(r"(?:/[^/\s'\":]+)+/([^/\s'\":]+)")

MAX_WAITING: Final = 64
"""Reads that wait or run; behind so many, one would miss its deadline anyhow."""


class GuardedThreads:
    """Runs blocking reads of one store for one event loop. A read that hangs holds its thread, and nobody else."""

    def __init__(self, name: str, threads: int, deadline_s: float, policy: BreakerPolicy) -> None:
        """name: of the store, in reasons ("durable store")."""
        self._name = name
        self._deadline_s = deadline_s
        self._breaker = CircuitBreaker(policy)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix=name.replace(" ", "-"))
        self._running: set[Future[Any]] = set()

    @property
    def problem(self) -> str | None:
        """Why the store is being left alone, None if it is not."""
        return self._breaker.reason if self._breaker.is_open else None

    async def run(self, read: Callable[[], T]) -> T:
        """Return what a read returns. Raises TryAgain if it fails, takes too long, or is not tried."""
        if not self._breaker.allows(time.monotonic()):
            raise TryAgain(self._breaker.reason)
        if len(self._running) >= MAX_WAITING:
            raise TryAgain(f"{self._name} busy: {MAX_WAITING} reads are waiting")
        future = self._pool.submit(read)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        try:
            async with asyncio.timeout(self._deadline_s):
                result = await asyncio.wrap_future(future)
        except TimeoutError:
            reason = f"{self._name} unavailable (no answer within {self._deadline_s * 1000:.0f} ms)"
            raise self._failed(reason) from None
        except Exception as error:  # whatever ails the store, the page falls down the ladder
            raise self._failed(unavailable(self._name, error)) from error
        self._breaker.succeeded()
        return result

    def close(self) -> None:
        """Let go of the threads; a read that hangs is not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _failed(self, reason: str) -> TryAgain:
        self._breaker.failed(time.monotonic(), reason)
        return TryAgain(reason)


def unavailable(part: str, error: BaseException) -> str:
    """Return the words for a part that fails: the first line of the error, without the folders of paths in it.

    >>> unavailable("hot store", OSError("/srv/state/hot cannot be opened"))
    'hot store unavailable (hot cannot be opened)'
    """
    lines = str(error).splitlines() or [error.__class__.__name__]
    reason = _PATH.sub(r"\1", lines[0][:MAX_REASON_CHARS])
    return f"{part} unavailable ({reason})"
