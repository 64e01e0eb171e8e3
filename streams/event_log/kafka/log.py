"""The event log on Kafka. One asyncio loop in a thread of its own does the talking; calls are handed to it.

    <prefix><topic>           the topics
    <prefix>marquee-epochs    their epochs (see history.py)
    <prefix><group>           consumer groups; a commit carries the id of its topic

Kafka's promises are kept where they are weaker than the embedded log's: an append is all or nothing per record batch
(half a megabyte of a partition's messages), not as a whole.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from typing import Any, Final, TypeVar
from weakref import WeakSet

from aiokafka import errors as kafka

from streams.errors import FixRequest, SlowDown, TryAgain
from streams.event_log.epochs import epoch_at
from streams.event_log.kafka.appender import Appender, packed, placed
from streams.event_log.kafka.batches import BatchReader, TopicView
from streams.event_log.kafka.cluster import APPEARING, EARLIEST, LATEST, Cluster, until_settled
from streams.event_log.kafka.config import KafkaConfig, check_topic_name
from streams.event_log.kafka.consumer import KafkaConsumer, Member
from streams.event_log.kafka.epoch_book import EPOCH_TOPIC, EpochBook
from streams.event_log.kafka.failures import told
from streams.event_log.kafka.loop_thread import LoopThread
from streams.event_log.protocol import Appended, Epochs, Message, Record, TopicPartition
from streams.metrics import LOG_APPEND_SECONDS, LOG_APPENDED, LOG_REFUSED
from streams.positions import MAX_EPOCH

logger = logging.getLogger(__name__)

MAX_PARTITIONS: Final = 1024

VIEW_MAX_AGE_S: Final = 1.0
"""How long an append goes by the partition count as last seen. A topic that is to grow has its writers paused."""

READ_BYTES: Final = 8 << 20
MIN_READ_BYTES: Final = 64 << 10

Result = TypeVar("Result")


class KafkaLog:
    """An event log on Kafka; see streams.event_log.protocol.EventLog."""

    def __init__(self, config: KafkaConfig) -> None:
        _quieten()
        self.prefix = config.prefix
        self._config = config
        self._timeout_s = config.request_timeout_ms / 1000
        self._thread = LoopThread("kafka-log")
        self._views: dict[str, tuple[float, TopicView]] = {}
        self._record_bytes = 1024.0
        """The size of records as read of late: reads ask for about as many bytes as they have use for."""
        self._members: WeakSet[Member] = WeakSet()
        self._pending: dict[str, int] = {}
        """Topics that were to be created while the cluster was away, and how many partitions each is to have."""
        self._cluster, self._appender = self._thread.run(self._made())
        self._book = EpochBook(self._cluster, config, self._appender.append_one)

    def create_topic(self, topic: str, partitions: int) -> None:
        """Create a topic unless it exists, with the retention of the settings."""
        check_topic_name(topic)
        if not 1 <= partitions <= MAX_PARTITIONS:
            raise FixRequest("partitions", f"must be 1 to {MAX_PARTITIONS}, not {partitions}")
        if topic == EPOCH_TOPIC:
            raise FixRequest("topic", f"{topic!r} is Marquee's own")
        self._pending[topic] = partitions
        self._do("create a topic", self._create(topic, partitions))

    def partition_count(self, topic: str) -> int:
        """Return the number of partitions. Raises FixRequest for an unknown topic."""
        return self._recent(topic).epochs[-1].partitions

    def epoch(self, topic: str) -> int:
        """Return the topic's epoch."""
        return self.epochs(topic)[-1].epoch

    def epochs(self, topic: str) -> Epochs:
        """Return the topic's epochs since it was made, oldest first."""
        return self._look(topic).epochs

    def epoch_at(self, topic: str, partition: int, offset: int) -> int:
        """Return the epoch of the record at an offset."""
        return epoch_at(self.epochs(topic), partition, offset)

    def grow_topic(self, topic: str, partitions: int) -> None:
        """Raise the number of partitions, in a new epoch; see the protocol."""
        if partitions > MAX_PARTITIONS:
            raise FixRequest("partitions", f"must be 1 to {MAX_PARTITIONS}, not {partitions}")
        self._do("grow a topic", self._book.grow(topic, partitions))
        self._views.pop(topic, None)

    def topic_id(self, topic: str) -> str:
        """Return Kafka's id of the topic."""
        return self._look(topic).topic_id.partition("/")[0]

    def raise_epoch(self, topic: str, above: int) -> None:
        """Begin a new epoch above `above`, unless the topic's is: what is stored of it is of another, lost log."""
        if not 0 <= above < MAX_EPOCH:
            raise FixRequest("topic", f"{topic} can have no epoch above {above}; use another name")
        self._look(topic)
        self._do("raise an epoch", self._book.raise_above(topic, above))
        self._views.pop(topic, None)

    def delete_topic(self, topic: str) -> None:
        """Delete a topic and its records; made again, it has a higher epoch."""
        self._look(topic)
        self._do("delete a topic", self._delete(topic))

    def append(self, topic: str, messages: Sequence[Message]) -> list[Appended]:
        """Append messages; see the protocol. If it raises TryAgain, some of them may be in the log."""
        if not messages:
            return []
        started_s = time.perf_counter()
        try:
            parts, places, size = packed(messages, self._recent(topic).epochs[-1].partitions)
            with self._appender.reserved(size):
                firsts = self._do("take messages", self._appender.append(self.prefix + topic, parts))
        except (SlowDown, TryAgain) as error:
            self._views.pop(topic, None)
            LOG_REFUSED.labels(topic, type(error).__name__).inc(len(messages))
            raise
        LOG_APPENDED.labels(topic).inc(len(messages))
        LOG_APPEND_SECONDS.labels(topic).observe(time.perf_counter() - started_s)
        return placed(places, parts, firsts)

    def read(self, topic: str, partition: int, offset: int, max_records: int) -> list[Record]:
        """Return up to `max_records` records from `offset` on, or from the start offset if that is higher."""
        self._check_partition(topic, partition)
        if max_records <= 0:
            return []
        name = self.prefix + topic
        records = self._of(topic, "be read from", lambda: self._read(name, partition, offset, max_records))
        return records[:max_records]

    def start_offset(self, topic: str, partition: int) -> int:
        """Return the offset of the oldest record kept."""
        self._check_partition(topic, partition)
        return self._of(topic, "say offsets", lambda: self._cluster.offset(self.prefix + topic, partition, EARLIEST))

    def end_offset(self, topic: str, partition: int) -> int:
        """Return the offset that the next record will get."""
        self._check_partition(topic, partition)
        return self._of(topic, "say offsets", lambda: self._cluster.offset(self.prefix + topic, partition, LATEST))

    def delete_records(self, topic: str, partition: int, before_offset: int) -> int:
        """Delete the records below `before_offset`; return how many there were."""
        self._check_partition(topic, partition)
        name = self.prefix + topic
        return self._of(topic, "delete records", lambda: self._delete_records(name, partition, before_offset))

    def enforce_retention(self, now_ms: int) -> int:
        """Return 0: Kafka does so by itself."""
        return 0

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        """Return the group's committed offset, unless it is of a topic that this one replaced."""
        view = self._look(partition.topic)
        name = self.prefix + partition.topic

        async def ask() -> dict[int, tuple[int, str]]:
            return await self._cluster.committed(self.prefix + group, name, [partition.partition])

        commits = self._do("say commits", until_settled(ask, self._timeout_s))
        offset, note = commits.get(partition.partition, (None, ""))
        return offset if note in ("", view.topic_id) else None

    def consumer(self, group: str, topics: Sequence[str]) -> KafkaConsumer:
        """Join a consumer group, at the first poll. Raises FixRequest for an unknown topic."""
        if not group:
            raise FixRequest("group", "needs a name")
        if not topics:
            raise FixRequest("topics", "name at least one")
        for topic in topics:
            self.partition_count(topic)
        subscribed = sorted(set(topics))
        reader = BatchReader(self, subscribed)
        member = Member(self._cluster, self._book, reader, self._config, group, subscribed)
        self._members.add(member)
        return KafkaConsumer(self._thread, member)

    def view(self, topics: Sequence[str]) -> Future[dict[str, TopicView]]:
        """Look topics up anew, for a consumer in another loop; see streams.event_log.kafka.batches."""

        async def look() -> dict[str, TopicView]:
            with told("be asked"):
                return await self._found(topics)

        return self._thread.submit(look())

    def close(self) -> None:
        """Write out what is under way, leave the groups of consumers that are open, and end the thread."""

        async def close() -> None:
            await asyncio.gather(*(member.leave() for member in list(self._members)))
            await self._appender.close()
            await self._cluster.close()

        try:
            self._thread.run(close())
        except TryAgain:
            return
        self._thread.stop()

    async def _made(self) -> tuple[Cluster, Appender]:
        return Cluster(self._config), Appender(self._config)

    async def _found(self, topics: Sequence[str]) -> dict[str, TopicView]:
        """Return the topics that there are, once those have been created whose turn it is."""
        found = await self._book.views(topics)
        pending = [topic for topic in topics if topic not in found and topic in self._pending]
        for topic in pending:
            await self._create(topic, self._pending[topic])
        return await self._book.views(topics) if pending else found

    async def _create(self, topic: str, partitions: int) -> None:
        name = self.prefix + topic
        configs = self._config.topic_configs(topic, partitions)
        found = await self._cluster.metadata([name])
        if name not in found and await self._cluster.create_topic(name, partitions, configs):

            async def appear() -> None:
                shown = await self._cluster.metadata([name])
                if name not in shown or min(shown[name].leaders) < 0:
                    raise kafka.LeaderNotAvailableError(name)
                await self._cluster.offsets(name, range(partitions), LATEST)

            await until_settled(appear, self._timeout_s, APPEARING)
        else:
            await self._compare(name, configs)
        view = (await self._book.views([topic])).get(topic)
        if view is None:
            raise TryAgain(f"{topic} was deleted meanwhile")
        self._views[topic] = (time.monotonic(), view)
        self._pending.pop(topic, None)
        if view.epochs[-1].partitions != partitions:
            raise FixRequest(
                "partitions", f"topic {topic} has {view.epochs[-1].partitions}; `grow_topic` gives it more"
            )

    async def _compare(self, name: str, configs: dict[str, str]) -> None:
        """Say where a topic that exists is kept otherwise than the settings say; it may be meant so."""
        there = await self._cluster.configs(name)
        other = {key: there[key] for key, value in configs.items() if key in there and there[key] != value}
        if other:
            logger.warning("a topic is configured otherwise than the settings say", extra={"topic": name, **other})

    async def _delete(self, topic: str) -> None:
        name = self.prefix + topic
        self._views.pop(topic, None)
        before = (await self._cluster.metadata([name])).get(name)
        await self._cluster.delete_topic(name)

        async def vanish() -> None:
            shown = (await self._cluster.metadata([name])).get(name)
            if shown is not None and before is not None and shown.topic_id == before.topic_id:
                raise kafka.LeaderNotAvailableError(name)

        await until_settled(vanish, self._timeout_s)

    async def _read(self, name: str, partition: int, offset: int, max_records: int) -> list[Record]:
        records: list[Record] = []
        while len(records) < max_records:
            size = int(min(max((max_records - len(records)) * self._record_bytes, MIN_READ_BYTES), READ_BYTES))
            try:
                more, following = await self._cluster.fetch(name, partition, offset, size)
            except kafka.OffsetOutOfRangeError:
                start = await self._cluster.offset(name, partition, EARLIEST)
                if offset >= start:
                    break
                offset = start
                continue
            if following == offset:
                break
            if more:
                self._record_bytes = sum(len(one.key) + len(one.value) + 16 for one in more) / len(more)
            records += more
            offset = following
        return records

    async def _delete_records(self, name: str, partition: int, before_offset: int) -> int:
        start = await self._cluster.offset(name, partition, EARLIEST)
        before = min(before_offset, await self._cluster.offset(name, partition, LATEST))
        if before <= start:
            return 0
        await self._cluster.delete_records(name, partition, before)
        return before - start

    def _look(self, topic: str) -> TopicView:
        """Look a topic up anew. Raises FixRequest if there is none."""
        view = self._do("be asked", self._found([topic])).get(topic)
        if view is None:
            self._views.pop(topic, None)
            raise FixRequest("topic", f"there is no topic {topic!r}")
        self._views[topic] = (time.monotonic(), view)
        return view

    def _recent(self, topic: str) -> TopicView:
        """Return a topic as it was within the last second."""
        seen = self._views.get(topic)
        return seen[1] if seen is not None and time.monotonic() - seen[0] < VIEW_MAX_AGE_S else self._look(topic)

    def _check_partition(self, topic: str, partition: int) -> None:
        count = self.partition_count(topic)
        if not 0 <= partition < count:
            raise FixRequest("partition", f"{topic} has the partitions 0 to {count - 1}, not {partition}")

    def _of(self, topic: str, doing: str, attempt: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Do work on a topic that must exist, again while its leaders move."""
        try:
            return self._do(doing, until_settled(attempt, self._timeout_s))
        except TryAgain as error:
            if isinstance(error.__cause__, kafka.UnknownTopicOrPartitionError):
                self._look(topic)
            raise

    def _do(self, doing: str, work: Coroutine[Any, Any, Result]) -> Result:
        with told(doing):
            return self._thread.run(asyncio.wait_for(work, 2 * self._timeout_s))


def _quieten() -> None:
    """While a broker is away aiokafka says so dozens of times a second, all at level ERROR; callers get it as TryAgain,
    once a call. Whoever wants to read it all sets the logger's level."""
    chatty = logging.getLogger("aiokafka")
    if chatty.level == logging.NOTSET:
        chatty.setLevel(logging.CRITICAL)
