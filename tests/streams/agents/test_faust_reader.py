"""The reader on Faust's consumer thread, with a thread that does what a test says: nothing that was fetched is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import cast

import pytest
from aiokafka.structs import TopicPartition as KafkaPartition

from streams.agents.faust.reader import FaustReader
from streams.agents.faust.transport import BatchThread, Fetched
from streams.errors import TryAgain
from streams.event_log.epochs import first_epoch
from streams.event_log.kafka.batches import TopicView
from streams.event_log.protocol import Record, TopicPartition

OLD, NEW = KafkaPartition("events", 0), KafkaPartition("events", 1)
RECORDS = [Record(offset, 0, b"k", b"v") for offset in (5, 6)]


class Thread:
    """Holds two partitions, of which one has no position yet, and has fetched of the other."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.thread_loop = loop
        self.held = frozenset({OLD, NEW})
        self.positions = {OLD: 7}
        self.read_on: dict[KafkaPartition, int] = {}

    async def begin(self) -> None:
        return

    async def take(self, max_records: int, timeout_s: float) -> Fetched:
        return {OLD: RECORDS}

    async def put(self, offsets: Mapping[KafkaPartition, int]) -> None:
        self.read_on.update(offsets)


class Log:
    """Knows the topic; cannot say commits while it is away."""

    prefix = ""
    away = True

    def view(self, topics: Sequence[str]) -> Future[dict[str, TopicView]]:
        future: Future[dict[str, TopicView]] = Future()
        future.set_result({topic: TopicView("id", first_epoch(1, 2)) for topic in topics})
        return future

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        if self.away:
            raise TryAgain("away")
        return 3


@pytest.fixture
def thread() -> Iterator[Thread]:
    loop = asyncio.new_event_loop()
    running = threading.Thread(target=loop.run_forever)
    running.start()
    yield Thread(loop)
    loop.call_soon_threadsafe(loop.stop)
    running.join()
    loop.close()


def test_what_was_fetched_while_a_new_partition_could_not_be_placed_is_fetched_again(thread: Thread) -> None:
    log = Log()
    reader = FaustReader(cast("BatchThread", thread), log, "group", ["events"])
    with pytest.raises(TryAgain):
        reader.poll(10, 0.0)
    assert thread.read_on == {OLD: 5}

    log.away = False
    [batch] = reader.poll(10, 0.0)
    assert [record.offset for record in batch.records] == [5, 6]
    assert thread.read_on == {OLD: 5, NEW: 3}
