"""The epochs of all topics of a cluster, kept in its topic `marquee-epochs`; see streams.event_log.kafka.history.

Every look at a topic asks its broker for the id and the topic of epochs for what is new, and does what is left to do:
each step may be left half done by a crash, and whoever comes next finishes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec
from aiokafka import errors as kafka

from streams.errors import FixRequest, TryAgain
from streams.event_log.kafka import history
from streams.event_log.kafka.batches import TopicView
from streams.event_log.kafka.cluster import APPEARING, EARLIEST, LATEST, Cluster, TopicMetadata, until_settled
from streams.event_log.kafka.config import KafkaConfig
from streams.event_log.kafka.history import UNKNOWN, Entry, TopicHistory

logger = logging.getLogger(__name__)

EPOCH_TOPIC: Final = "marquee-epochs"

FETCH_BYTES: Final = 1 << 20

PAUSE_S: Final = 0.02
"""Between looks while brokers agree, or while others finish what they began."""
_entries: Final = msgspec.json.Decoder(Entry)
"""Made here, once: msgspec crashes the process where two threads meet a type for the first time at once."""


class EpochBook:
    """Topics and their epochs. Runs in one loop; topic names are without the prefix. Raises aiokafka's errors.

    append: appends one value to the topic of epochs, durably."""

    def __init__(self, cluster: Cluster, config: KafkaConfig, append: Callable[[str, bytes], Awaitable[None]]) -> None:
        self._cluster = cluster
        self._config = config
        self._append = append
        self._name = config.prefix + EPOCH_TOPIC
        self._id = ""
        self._next = 0
        self._histories: dict[str, TopicHistory] = {}
        self._floors: dict[str, int] = {}
        self._reading = asyncio.Lock()

    async def views(self, topics: Sequence[str]) -> dict[str, TopicView]:
        """Return topics as they are now, their epochs settled; those that do not exist are left out. Raises TryAgain
        if brokers do not come to agree within the request timeout."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._config.request_timeout_ms / 1000
        while True:
            found = await self._look(topics)
            if found is not None and not [1 for topic, one in found.items() if await self._act(topic, one)]:
                return {topic: _view(self._histories[topic]) for topic in found}
            if loop.time() > ends:
                raise TryAgain(f"brokers do not agree on {', '.join(topics)} yet")
            if found is None:
                await asyncio.sleep(PAUSE_S)

    async def grow(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions, in a new epoch. Raises FixRequest for fewer, or a number Kafka refuses."""
        while True:
            view = (await self.views([topic])).get(topic)
            if view is None:
                raise FixRequest("topic", f"there is no topic {topic!r}")
            if view.epochs[-1].partitions >= partitions:
                break
            try:
                await self._cluster.create_partitions(self._config.prefix + topic, partitions, validate_only=True)
            except (kafka.InvalidPartitionsError, kafka.InvalidReplicationAssignmentError) as error:
                raise FixRequest("partitions", f"Kafka refuses {partitions}: {error}") from error
            await self._write(history.growing(topic, self._histories[topic], partitions))
        if view.epochs[-1].partitions > partitions:
            raise FixRequest("partitions", f"{topic} has {view.epochs[-1].partitions}, and Kafka cannot take any away")

    async def raise_above(self, topic: str, epoch: int) -> None:
        """Begin a new epoch of a topic above `epoch`, unless it has one: of what was stored before, something is of
        `epoch`, so the log is another one."""
        self._floors[topic] = max(epoch + 1, self._floors.get(topic, 0))
        await self.views([topic])

    async def _look(self, topics: Sequence[str]) -> dict[str, TopicMetadata] | None:
        """Ask the brokers that lead the topics, and read what is new of epochs; None if the brokers differ."""
        names = [self._config.prefix + topic for topic in topics]
        nodes = self._cluster.nodes_of(names) or [None]
        asked = [*names, self._name]
        answers, _ = await asyncio.gather(
            asyncio.gather(*(self._cluster.metadata(asked, node) for node in nodes)), self._catch_up()
        )
        own = answers[0].get(self._name)
        if own is not None and own.topic_id != self._id:
            if self._id:
                logger.error("the topic of epochs was made anew: what it held is lost", extra={"topic": self._name})
            await self._read_anew(own.topic_id)
        ids = [{name: found.topic_id for name, found in answer.items()} for answer in answers]
        if any(one != ids[0] for one in ids):
            return None
        return {topic: answers[0][name] for topic, name in zip(topics, names, strict=True) if name in answers[0]}

    async def _act(self, topic: str, found: TopicMetadata) -> bool:
        """Do a topic's next step, if there is one; return whether there was."""
        known = self._histories.get(topic, UNKNOWN)
        step = history.next_step(known, found.topic_id, len(found.leaders), self._floors.get(topic, 0))
        if step == "settled":
            return False
        if step == "behind":
            await asyncio.sleep(PAUSE_S)
        elif step == "add":
            await self._cluster.create_partitions(self._config.prefix + topic, known.partitions)
        elif step == "announce":
            await self._write(history.growing(topic, known, len(found.leaders)))
        elif step == "end":
            name, partitions = self._config.prefix + topic, range(known.partitions)
            ends = await self._cluster.offsets(name, partitions, LATEST)
            await self._write(history.has_grown(topic, known, tuple(ends[partition] for partition in partitions)))
        else:
            floor = self._floors.get(topic, 0)
            if known.epoch < floor:
                logger.error(
                    "the log is behind what was stored of it: a new epoch begins",
                    extra={"topic": topic, "epoch": known.epoch, "least": floor},
                )
            await self._write(history.began(topic, known, found.topic_id, len(found.leaders), floor))
        return True

    async def _write(self, entry: Entry) -> None:
        await self._append(self._name, msgspec.json.encode(entry))

    async def _catch_up(self) -> None:
        """Fold what the topic of epochs has that was not read yet; make the topic if it is missing."""
        async with self._reading:
            try:
                await self._read_on()
            except kafka.UnknownTopicOrPartitionError:
                configs = self._config.epoch_topic_configs()
                await self._cluster.create_topic(self._name, 1, configs)
                await until_settled(self._read_on, self._config.request_timeout_ms / 1000, APPEARING)

    async def _read_anew(self, topic_id: str) -> None:
        async with self._reading:
            if self._id:  # epochs must not come again, so those begin above all that were seen here
                self._floors.update((topic, one.epoch + 1) for topic, one in self._histories.items())
                self._histories, self._next = {}, 0
            self._id = topic_id
            await self._read_on()

    async def _read_on(self) -> None:
        end = await self._cluster.offset(self._name, 0, LATEST)
        while self._next < end:
            try:
                records, self._next = await self._cluster.fetch(self._name, 0, self._next, FETCH_BYTES)
            except kafka.OffsetOutOfRangeError:
                self._next = await self._cluster.offset(self._name, 0, EARLIEST)
                continue
            for record in records:
                self._take(record.value)

    def _take(self, value: bytes) -> None:
        try:
            entry = _entries.decode(value)
        except msgspec.MsgspecError:
            logger.error("a record of the topic of epochs cannot be read", extra={"topic": self._name})
            return
        self._histories[entry.topic] = history.fold(self._histories.get(entry.topic, UNKNOWN), entry)


def _view(history: TopicHistory) -> TopicView:
    return TopicView(f"{history.topic_id}/{history.epochs[0].epoch}", history.epochs)
