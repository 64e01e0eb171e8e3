"""Single flight: concurrent requests for one key share one computation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from streams.errors import SlowDown

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SingleFlight(Generic[K, T]):
    """Runs at most one computation of a key at a time, and at most `max_flights` in all. One event loop's.

    A computation belongs to no caller: one who gives up leaves it running for the others. Its failure is theirs too,
    and is forgotten with it.
    """

    def __init__(self, max_flights: int) -> None:
        self._max_flights = max_flights
        self._flights: dict[K, asyncio.Task[T]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def run(self, key: K, compute: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of the key's running computation, or of a new one. Raises what it raises, and SlowDown
        when too many are running."""
        task = self._flights.get(key)
        if task is None or task.done():  # one that is done read its inputs before this call
            task = self._start(key, compute)
        return await asyncio.shield(task)

    async def close(self, timeout_s: float) -> None:
        """Wait for what is running, then cancel what is left."""
        tasks = list(self._flights.values())
        if tasks:
            _, running = await asyncio.wait(tasks, timeout=timeout_s)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    def _start(self, key: K, compute: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        if len(self._flights) >= self._max_flights:
            raise SlowDown(f"{self._max_flights} computations are running")
        task = asyncio.get_running_loop().create_task(compute())
        self._flights[key] = task
        task.add_done_callback(lambda done: self._finished(key, done))
        return task

    def _finished(self, key: K, task: asyncio.Task[T]) -> None:
        if self._flights.get(key) is task:
            del self._flights[key]
        if not task.cancelled():
            task.exception()  # marks it as seen: every caller may have given up
