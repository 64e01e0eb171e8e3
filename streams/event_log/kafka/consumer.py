"""A consumer on Kafka: a member that follows its group's rebalances, reads its partitions fairly, and commits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from aiokafka.errors import CommitFailedError, IllegalStateError, InvalidSessionTimeoutError, KafkaError
from aiokafka.errors import RebalanceInProgressError as Rebalancing
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as KafkaPartition

from streams.errors import Fenced, FixRequest, TryAgain
from streams.event_log.kafka.batches import BatchReader, batches_of
from streams.event_log.kafka.cluster import Cluster, until_settled
from streams.event_log.kafka.config import KafkaConfig
from streams.event_log.kafka.epoch_book import EpochBook
from streams.event_log.kafka.failures import told
from streams.event_log.kafka.group_client import GroupClient
from streams.event_log.kafka.loop_thread import LoopThread
from streams.event_log.kafka.membership import Membership, own_assignor
from streams.event_log.protocol import Batch, Record, TopicPartition

logger = logging.getLogger(__name__)

FETCH_BYTES: Final = 2 << 20
"""Of one partition: what is held in memory is this for each partition owned, twice at most."""

MIN_SESSION_MS: Final = 6_000
"""The shortest session that brokers allow, unless their `group.min.session.timeout.ms` says otherwise."""

FETCH_WAIT_MS: Final = 100
"""How long a broker holds a fetch that finds nothing. Others wait behind it, as after a seek or a rebalance."""

LOOK_S: Final = 0.5
"""How often a member that reads nothing looks whether its topics are the same."""

REBALANCE_TIMEOUT_MS: Final = 10_000
"""How long a group waits for a member that is alive to join again."""


class Member:
    """One member of a group, in the loop. See streams.event_log.protocol.Consumer for what its methods do."""

    def __init__(
        self, cluster: Cluster, book: EpochBook, reader: BatchReader, config: KafkaConfig, group: str, topics: list[str]
    ) -> None:
        self._cluster = cluster
        self._book = book
        self._reader = reader
        self._config = config
        self._group = group
        self._topics = topics
        self._consumer: Any = None
        self._membership: Membership | None = None
        self._committed: dict[Any, int] = {}
        self._first = 0
        self._looked_s = 0.0
        self.held: frozenset[TopicPartition] = frozenset()

    async def poll(self, max_records: int, timeout_s: float) -> list[Batch]:
        """Return the next batches."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout_s
        held = self.held
        try:
            membership = await self._joined()
            with membership.alive():
                while True:
                    await self._step(membership)
                    if self.held != held:
                        return []
                    fetched = await self._take(membership, max_records)
                    if fetched:
                        return await self._checked(membership, fetched)
                    if loop.time() - self._looked_s > LOOK_S:
                        await self._look(membership)
                        if membership is not self._membership:
                            self._tell()
                            return []
                    left_s = ends - loop.time()
                    if left_s <= 0:
                        return []
                    await self._wait(membership, max_records, left_s)
        except Fenced:
            self._tell()
            raise
        except InvalidSessionTimeoutError as error:
            await self._leave()
            raise FixRequest("MARQUEE_SESSION_TIMEOUT_MS", "the brokers allow no such session") from error
        except KafkaError:
            await self._leave()
            raise

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Record the next offsets to read, each with the id of its topic."""
        self._check_held(offsets)
        membership = self._membership
        if membership is None or membership.was_put_out:
            raise Fenced(f"this member of {self._group} was put out")
        if membership.rebalancing or not membership.is_current:
            raise TryAgain(f"group {self._group} is rebalancing", 0.1)
        names = {self._kafka(at): offset for at, offset in offsets.items()}
        higher = {
            at: OffsetAndMetadata(offset, self._reader.views[at.topic[len(self._config.prefix) :]].topic_id)
            for at, offset in names.items()
            if offset > self._committed.get(at, -1)
        }
        if not higher:
            return
        try:
            async with asyncio.timeout(self._config.request_timeout_ms / 1000):
                await self._consumer.commit(higher)
        except (CommitFailedError, IllegalStateError) as error:
            if isinstance(error.__cause__, Rebalancing):
                raise TryAgain(f"group {self._group} is rebalancing", 0.1) from error
            raise Fenced(f"{self._group}: {error}") from error
        self._committed.update((at, one.offset) for at, one in higher.items())

    async def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from an offset."""
        self._check_held([partition])
        assert self._membership is not None
        at = self._kafka(partition)
        self._membership.positions[at] = offset
        self._seek(at, offset)

    async def leave(self) -> None:
        """Leave the group."""
        await self._leave()
        self._tell()

    async def _joined(self) -> Membership:
        """Begin to join, unless that was done.

        A member that does not poll leaves by itself after the session of the settings. One that was killed or cannot be
        heard is put out by the brokers, which may not do that as soon (`group.min.session.timeout.ms`)."""
        if self._membership is not None:
            return self._membership
        await self._reader.begin_with(self._book.views)
        session_ms = max(self._config.session_timeout_ms, await self._cluster.shortest_session_ms())
        rebalance_ms = max(session_ms, REBALANCE_TIMEOUT_MS)
        arguments = self._config.client_arguments()
        arguments["request_timeout_ms"] += rebalance_ms  # a join is answered once the other members have joined
        consumer = GroupClient(
            **arguments,
            group_id=self._config.prefix + self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            partition_assignment_strategy=(own_assignor(),),
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=rebalance_ms,
            heartbeat_interval_ms=max(session_ms // 20, 50),
            max_poll_interval_ms=self._config.session_timeout_ms,
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            metadata_max_age_ms=10_000,
            retry_backoff_ms=50,
        )
        try:
            async with asyncio.timeout(self._config.request_timeout_ms / 1000):
                await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        self._consumer, self._membership = consumer, Membership(consumer)
        consumer.subscribe([self._config.prefix + topic for topic in self._topics], listener=self._membership)
        return self._membership

    async def _step(self, membership: Membership) -> None:
        """Take over what the group gave or took away."""
        membership.step()
        gained = membership.held - membership.positions.keys()
        if gained:
            begins = await self._begins(gained)
            membership.positions.update(begins)
            for at, offset in begins.items():
                self._seek(at, offset)
        self._tell()

    async def _begins(self, gained: frozenset[Any]) -> dict[Any, int]:
        """Return where to begin partitions: at the commit, if it is of this topic and not one that it replaced."""
        begins = dict.fromkeys(gained, 0)
        for name in {at.topic for at in gained}:
            view = self._reader.views.get(name[len(self._config.prefix) :])
            partitions = [at.partition for at in gained if at.topic == name]
            with told("say commits"):
                commits = await until_settled(
                    partial(self._cluster.committed, self._config.prefix + self._group, name, partitions),
                    self._config.request_timeout_ms / 1000,
                )
            for partition, (offset, note) in commits.items():
                if view is not None and note in ("", view.topic_id):
                    begins[KafkaPartition(name, partition)] = offset
        self._committed = {at: offset for at, offset in begins.items() if offset} | {
            at: offset for at, offset in self._committed.items() if at not in gained
        }
        return begins

    async def _take(self, membership: Membership, max_records: int) -> dict[Any, list[Record]]:
        """Take what was fetched, an equal share from each partition, beginning where the last take ended."""
        fetched: dict[Any, list[Record]] = {}
        if max_records <= 0 or membership.rebalancing:
            return fetched
        waiting = self._rotated(membership)
        left, visited = max_records, 0
        while visited < len(waiting) and left > 0:
            share = -(-left // (len(waiting) - visited))
            if records := await membership.take(waiting[visited], share):
                fetched[waiting[visited]] = records
                left -= len(records)
            visited += 1
        self._first += visited
        return fetched

    async def _wait(self, membership: Membership, max_records: int, timeout_s: float) -> None:
        """Wait for records, or for a change in the group. What comes is left where it is."""
        changed = asyncio.ensure_future(membership.changed.wait())
        arrived = asyncio.ensure_future(self._arrival(membership, max_records, timeout_s))
        try:
            await asyncio.wait((changed, arrived), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()
            arrived.cancel()
            await asyncio.gather(changed, arrived, return_exceptions=True)
        if arrived.done() and not arrived.cancelled() and (error := arrived.exception()) is not None:
            raise error

    async def _arrival(self, membership: Membership, max_records: int, timeout_s: float) -> None:
        if max_records <= 0 or membership.rebalancing or not membership.held:
            await asyncio.sleep(timeout_s)
            return
        await membership.arrival(timeout_s)

    async def _checked(self, membership: Membership, fetched: dict[Any, list[Record]]) -> list[Batch]:
        """Return records as batches, once it is sure which topics they are of."""
        prefix = self._config.prefix
        try:
            await self._look(membership, sorted({at.topic[len(prefix) :] for at in fetched}))
        except BaseException:
            for at, records in fetched.items():  # they were taken and are not handed out: they come again
                self._seek(at, records[0].offset)
            raise
        for at, records in fetched.items():
            membership.positions[at] = records[-1].offset + 1
            if membership.changed.is_set():  # given out anew meanwhile, from the position of before
                self._seek(at, membership.positions[at])
        return batches_of(fetched, self._reader.views, prefix)

    async def _look(self, membership: Membership, read: Sequence[str] = ()) -> None:
        """Make sure that the topics are the same as when this member began, above all those that were read; if one has
        grown, have the group give out the new partitions. Raises Fenced, out of the group, if one is another."""
        with told("say which topics there are"):
            found = await self._book.views(self._topics)
        self._looked_s = asyncio.get_running_loop().time()
        try:
            self._reader.check(found, [*read, *self._reader.views])
        except Fenced:
            await self._leave()
            raise
        if found.keys() != self._reader.views.keys():  # one that was deleted is back: begin anew
            await self._leave()
        else:
            membership.expect({self._config.prefix + topic: one.epochs[-1].partitions for topic, one in found.items()})

    def _rotated(self, membership: Membership) -> list[Any]:
        ready = sorted(membership.positions)
        first = self._first % len(ready) if ready else 0
        return ready[first:] + ready[:first]

    def _check_held(self, partitions: Mapping[TopicPartition, int] | Sequence[TopicPartition]) -> None:
        lost = [f"{at.topic}/{at.partition}" for at in partitions if at not in self.held]
        if lost:
            raise Fenced(f"{', '.join(lost)} is not held by this member of {self._group}")

    def _seek(self, at: Any, offset: int) -> None:
        """Move the fetching. While partitions are given out anew there is none: it then begins at the position."""
        if self._consumer is not None:
            with contextlib.suppress(IllegalStateError):
                self._consumer.seek(at, offset)

    def _tell(self) -> None:
        held = self._membership.positions if self._membership is not None else ()
        self.held = frozenset(TopicPartition(at.topic[len(self._config.prefix) :], at.partition) for at in held)

    async def _leave(self) -> None:
        consumer, self._consumer, self._membership, self._committed = self._consumer, None, None, {}
        if consumer is not None:
            try:
                async with asyncio.timeout(self._config.request_timeout_ms / 1000):
                    await consumer.stop()
            except (TimeoutError, KafkaError) as error:
                logger.warning("left a group without a word", extra={"group": self._group, "error": str(error)})

    def _kafka(self, at: TopicPartition) -> Any:
        return KafkaPartition(self._config.prefix + at.topic, at.partition)


class KafkaConsumer:
    """One member of a group. Not thread-safe; see streams.event_log.protocol.Consumer."""

    def __init__(self, thread: LoopThread, member: Member) -> None:
        self._thread = thread
        self._member = member
        self._closed = False

    def poll(self, max_records: int, timeout_s: float) -> list[Batch]:
        """Return the next batches; see the protocol."""
        if self._closed:
            raise FixRequest("consumer", "is closed")
        with told("be read from"):
            return self._thread.run(self._member.poll(max_records, timeout_s))

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that this member holds."""
        return self._member.held

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Record the next offsets to read. Raises Fenced if a partition is no longer held, TryAgain in a rebalance."""
        if offsets:
            with told("commit"):
                self._thread.run(self._member.commit(offsets))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from `offset`. Raises Fenced if the partition is not held."""
        self._thread.run(self._member.seek(partition, offset))

    def close(self) -> None:
        """Leave the group. If Kafka cannot be told, the session ends it."""
        self._closed = True
        with contextlib.suppress(TryAgain):
            self._thread.run(self._member.leave())
