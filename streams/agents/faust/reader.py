"""The `Consumer` that an agent's loop polls, on top of Faust's consumer thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar

from aiokafka.structs import TopicPartition as KafkaPartition

from streams.agents.faust.transport import BatchThread, Fetched, begins_of
from streams.errors import Fenced, FixRequest, TryAgain
from streams.event_log.kafka.batches import BatchReader, EpochSource
from streams.event_log.kafka.failures import told
from streams.event_log.protocol import Batch, TopicPartition

Answer = TypeVar("Answer")

ANSWER_TIMEOUT_S: Final = 30.0
"""How long the consumer's thread may take beyond what was asked of it, before the reader takes it for dead."""


class CommittingLog(EpochSource, Protocol):
    """What a reader needs of the Kafka log beside the records."""

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        """Return a group's commit, if it is of the topic that there is now."""
        ...


class FaustReader:
    """One reader of a Faust consumer; see streams.event_log.protocol.Consumer. Not thread-safe: one thread polls.

    What the topics are is noted before the first fetch and compared after each (streams.event_log.kafka.batches)."""

    def __init__(self, thread: BatchThread, log: CommittingLog, group: str, topics: Iterable[str]) -> None:
        self._thread = thread
        self._log = log
        self._group = group
        self._topics = frozenset(topics)
        self._batches = BatchReader(log, list(self._topics))
        self._assigned: frozenset[TopicPartition] = frozenset()
        self._has_begun = self._is_closed = False

    def poll(self, max_records: int, timeout_s: float) -> list[Batch]:
        """Return the next batches; see the protocol."""
        if self._is_closed:
            raise FixRequest("consumer", "is closed")
        try:
            self._begin()
            fetched, batches = self._call("be read from", self._read(max_records, timeout_s), timeout_s)
            self._assigned = frozenset(map(self._ours, self._thread.held))
            return self._as_batches(fetched) if batches is None else batches
        except Fenced:
            self._assigned = frozenset()
            self._has_begun = False
            raise

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions held, as of the last poll."""
        return self._assigned

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit, each offset with the id of its topic. Raises Fenced if a partition is not held, TryAgain while the
        group rebalances or its coordinator is away."""
        self._check_held(offsets)
        views = self._batches.views
        entries = {self._kafkas(at): (offset, views[at.topic].topic_id) for at, offset in offsets.items()}
        self._call("commit", self._thread.commit_held(entries))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from `offset`. Raises Fenced if the partition is not held."""
        self._check_held([partition])
        self._call("seek", self._thread.put({self._kafkas(partition): offset}))

    def close(self) -> None:
        """Let go of everything. The member stays in its group until its Faust app stops."""
        self._assigned = frozenset()
        self._is_closed = True

    def _begin(self) -> None:
        if not self._has_begun:
            self._call("tell its topics", self._batches.begin())
            if missing := self._topics - self._batches.views.keys():
                raise TryAgain(f"{', '.join(sorted(missing))}: the event log has no such topic yet")
            self._call("be joined", self._thread.begin())
            self._has_begun = True

    async def _read(self, max_records: int, timeout_s: float) -> tuple[Fetched, list[Batch] | None]:
        """Return what was fetched, and as batches unless more is to be done for those: one trip to the consumer's
        thread is enough then, and pages wait for these trips."""
        fetched = await self._thread.take(max_records, timeout_s)
        if not fetched or self._new():
            return fetched, None
        try:
            return fetched, await self._batches.batches(fetched)
        except BaseException:
            await self._thread.put(begins_of(fetched))
            raise

    def _new(self) -> frozenset[KafkaPartition]:
        return self._thread.held - self._thread.positions.keys()

    def _place(self) -> None:
        """Begin what is new at the group's commit: all at once, so that the next fetch is for all."""
        new = self._new()
        if new:
            begins = {at: self._log.committed(self._group, self._ours(at)) or 0 for at in new}
            self._call("seek", self._thread.put(begins))

    def _as_batches(self, fetched: Fetched) -> list[Batch]:
        """Place what is new; return what was fetched as batches. If either cannot be done now, it is fetched again."""
        try:
            self._place()
            return self._call("tell its topics", self._batches.batches(fetched)) if fetched else []
        except TryAgain:
            self._call("seek", self._thread.put(begins_of(fetched)))
            raise

    def _check_held(self, partitions: Iterable[TopicPartition]) -> None:
        if missing := [f"{at.topic}/{at.partition}" for at in partitions if at not in self._assigned]:
            raise Fenced(f"{', '.join(missing)} is not held by this member of {self._group}")

    def _ours(self, at: KafkaPartition) -> TopicPartition:
        return TopicPartition(at.topic[len(self._log.prefix) :], at.partition)

    def _kafkas(self, at: TopicPartition) -> KafkaPartition:
        return KafkaPartition(self._log.prefix + at.topic, at.partition)

    def _call(self, doing: str, work: Coroutine[Any, Any, Answer], timeout_s: float = 0.0) -> Answer:
        """Run a coroutine in the thread's loop. Raises Kafka's errors by what the caller should do."""
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._thread.thread_loop)
        except RuntimeError as error:
            work.close()
            raise TryAgain("the worker is stopping") from error
        try:
            with told(doing):
                return future.result(timeout_s + ANSWER_TIMEOUT_S)
        except concurrent.futures.CancelledError as error:
            raise TryAgain("the worker is stopping") from error
        finally:
            future.cancel()
