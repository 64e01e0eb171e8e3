"""The `Consumer` that an agent's loop polls, on top of Faust's consumer thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final, TypeVar

from streams.agents.faust.transport import BatchThread
from streams.errors import Fenced, FixRequest, TryAgain
from streams.event_log.kafka.batches import BatchReader
from streams.event_log.protocol import Batch, TopicPartition

Answer = TypeVar("Answer")

ANSWER_TIMEOUT_S: Final = 30.0
"""How long the consumer's thread may take beyond what was asked of it, before the reader takes it for dead."""


class FaustReader:
    """One reader of a Faust consumer; see streams.event_log.protocol.Consumer. Not thread-safe: one thread polls."""

    def __init__(self, thread: BatchThread, batches: BatchReader) -> None:
        self._thread = thread
        self._batches = batches
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._has_begun = self._is_closed = False

    def poll(self, max_records: int, timeout_s: float) -> list[Batch]:
        """Return the next batches; see the protocol."""
        try:
            self._begin()
            taken = self._thread.take(self._batches, max_records, timeout_s)
            self._assigned, batches = self._call(taken, timeout_s)
            return batches
        except Fenced:
            self._assigned = frozenset()
            raise

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions held, as of the last poll."""
        return self._assigned

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit; see the protocol. Raises TryAgain while the group rebalances or its coordinator is away."""
        self._check_held(offsets)
        self._call(self._thread.commit_held(offsets))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from `offset`. Raises Fenced if the partition is not held."""
        self._check_held([partition])
        self._call(self._thread.seek_held(partition, offset))

    def close(self) -> None:
        """Let go of everything. The member stays in its group until its Faust app stops."""
        self._assigned = frozenset()
        self._is_closed = True

    def _begin(self) -> None:
        if self._is_closed:
            raise FixRequest("consumer", "is closed")
        if not self._has_begun:
            self._call(self._thread.begin(self._batches))
            self._has_begun = True

    def _check_held(self, partitions: Mapping[TopicPartition, int] | Sequence[TopicPartition]) -> None:
        if missing := [f"{at.topic}/{at.partition}" for at in partitions if at not in self._assigned]:
            raise Fenced(f"{', '.join(missing)} is not held")

    def _call(self, work: Coroutine[Any, Any, Answer], timeout_s: float = 0.0) -> Answer:
        """Run a coroutine in the thread's loop."""
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._thread.thread_loop)
        except RuntimeError as error:
            work.close()
            raise TryAgain("the worker is stopping") from error
        try:
            return future.result(timeout_s + ANSWER_TIMEOUT_S)
        except (concurrent.futures.CancelledError, concurrent.futures.TimeoutError) as error:
            future.cancel()
            raise TryAgain("the worker's consumer does not answer") from error
