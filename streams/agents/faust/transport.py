"""A Faust transport that hands whole batches over.

Faust's own consumer makes two asyncio tasks of every message. Here its consumer thread holds the membership, takes part
in rebalances and fetches, as ever; but what a fetch has brought stays whole until a reader in another thread asks for
it. The bound is the fetch: the client library reads ahead no more than one answer of each broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar, Final, cast

from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, RebalanceInProgressError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata
from aiokafka.structs import TopicPartition as KafkaPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.transports import ConsumerT
from mode import Service, ServiceT

from streams.agents.faust.handover import Handover
from streams.errors import Fenced, TryAgain
from streams.event_log.kafka.batches import BatchReader
from streams.event_log.kafka.failures import told
from streams.event_log.protocol import Batch, TopicPartition

if TYPE_CHECKING:
    from streams.agents.faust.group import GroupApp

RETRY_S: Final = 0.5
"""Between attempts to reach a cluster that is away."""

NAP_S: Final = 0.05
"""How soon a waiting poll hears of a rebalance."""

COMMIT_TIMEOUT_S: Final = 5.0

Assignment = frozenset[TopicPartition]


class BatchThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, which hands records over when asked. Its coroutines run in the thread's own loop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._group = cast("GroupApp", self.app)
        self._handover = Handover()
        self._next: dict[TopicPartition, int] = {}
        """The offset that the reader reads next, of the partitions that it has read or sought in."""
        self._committed: dict[TopicPartition, int] = {}
        self._first = 0

    # What Faust asks for

    async def on_start(self) -> None:
        """Connect to the cluster; wait for one that is away."""
        self.time_started = asyncio.get_running_loop().time()
        while not self.should_stop:
            consumer = self._group.new_member()
            try:
                await consumer.start()
            except KafkaError as error:
                await consumer.stop()
                self.log.warning("the event log is away: %r", error)
                await asyncio.sleep(RETRY_S)
            else:
                self._consumer = consumer
                return

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Take in a rebalance, and read on in what is kept where the reader stands."""
        member = self._ensure_consumer()._coordinator.member_id
        kept = self._handover.assigned(map(self._ours, assigned), member, generation_id)
        self._committed = {at: offset for at, offset in self._committed.items() if at in kept}
        self._next = {at: offset for at, offset in self._next.items() if at in kept}
        for at, offset in self._next.items():
            self._ensure_consumer().seek(self._kafkas(at), offset)
        await super().on_partitions_assigned(assigned, generation_id)

    # What the reader asks for

    async def begin(self, reader: BatchReader) -> None:
        """Begin with a new reader: it holds nothing, and hears at its polls what the group gives it."""
        await reader.begin()
        self._handover.begin()

    async def take(self, reader: BatchReader, max_records: int, timeout_s: float) -> tuple[Assignment, list[Batch]]:
        """Return what the reader holds now, and its next batches. For the rest see Consumer.poll."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while True:
            self._look_alive()
            before = self._handover.told
            if self._handover.next_step():
                await self._rewind(self._handover.told - before)
                return self._handover.told, []
            with told("fetch"):
                fetched = await self._fetched(max_records)
            left_s = deadline_s - loop.time()
            if fetched or left_s <= 0:
                return self._handover.told, await self._batches(reader, fetched)
            with told("fetch"):
                await self._nap(min(left_s, NAP_S))

    async def seek_held(self, at: TopicPartition, offset: int) -> None:
        """Read on from `offset`, unless the partition is no longer held: the next poll tells."""
        if at in self._handover.held:
            self._ensure_consumer().seek(self._kafkas(at), offset)
            self._next[at] = offset

    async def commit_held(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Commit, never backwards. What was given up in an orderly rebalance is left to whoever has it now: the next
        poll tells. Raises Fenced if the group put this member out."""
        if self._handover.was_put_out:
            raise Fenced("the group went on without this member")
        held = self._handover.held
        ahead = {at: o for at, o in offsets.items() if at in held and o > self._committed.get(at, -1)}
        if not ahead:
            return
        entries = {self._kafkas(at): OffsetAndMetadata(offset, "") for at, offset in ahead.items()}
        try:
            with told("commit"):
                await asyncio.wait_for(self._commit_entries(entries), COMMIT_TIMEOUT_S)
        except Fenced:
            self._handover.put_out()
            raise
        self._committed.update(ahead)
        self.app.monitor.on_tp_commit({TP(*self._kafkas(at)): offset for at, offset in ahead.items()})

    def progress(self) -> dict[TopicPartition, tuple[int, int]]:
        """Return the position and the end, as of the last fetch, of each partition read. For any thread."""
        assigned, positions = self.assignment(), self._next.copy()
        ends = {at: self.highwater(TP(*self._kafkas(at))) for at in positions if self._kafkas(at) in assigned}
        return {at: (positions[at], max(end or 0, positions[at])) for at, end in ends.items()}

    # Leaves

    def _ours(self, at: TP | KafkaPartition) -> TopicPartition:
        return TopicPartition(at.topic[len(self._group.prefix) :], at.partition)

    def _kafkas(self, at: TopicPartition) -> KafkaPartition:
        return KafkaPartition(self._group.prefix + at.topic, at.partition)

    def _look_alive(self) -> None:
        """Note a poll: a member that does not poll for a session's time is put out."""
        with self._ensure_consumer()._subscription.fetch_context():
            pass

    async def _rewind(self, gained: Iterable[TopicPartition]) -> None:
        """Have gained partitions begin at the group's commit, also those that an earlier reader was further in."""
        consumer = self._ensure_consumer()
        for at in self._next.keys() & set(gained):
            with told("look up a commit"):
                committed = await consumer.committed(self._kafkas(at))
            await self.seek_held(at, committed or 0)

    async def _fetched(self, max_records: int) -> dict[KafkaPartition, list[ConsumerRecord]]:
        """Return what fetches have brought: an equal share of each partition, beginning where the last call ended;
        then again, as long as there is room. It waits for nothing, so that no rebalance comes in between."""
        fetched: dict[KafkaPartition, list[ConsumerRecord]] = {}
        left = max_records
        waiting = [] if self._ensure_consumer()._subscription.reassignment_in_progress else self._rotated()
        while waiting and left > 0:
            going_on = []
            for visited, at in enumerate(waiting):
                share = -(-left // (len(waiting) - visited))
                records = await self._drained(at, share)
                self._first += 1
                left -= len(records)
                if records:
                    fetched.setdefault(self._kafkas(at), []).extend(records)
                    self._next[at] = records[-1].offset + 1
                if len(records) == share:
                    going_on.append(at)
                if left == 0:
                    break
            waiting = going_on
        return fetched

    def _rotated(self) -> list[TopicPartition]:
        held = sorted(self._handover.held)
        first = self._first % len(held) if held else 0
        return held[first:] + held[:first]

    async def _drained(self, at: TopicPartition, count: int) -> list[ConsumerRecord]:
        place = self._kafkas(at)
        fetched = await self._ensure_consumer().getmany(place, timeout_ms=0, max_records=count)
        return cast("list[ConsumerRecord]", fetched.get(place, []))

    async def _batches(
        self, reader: BatchReader, fetched: Mapping[KafkaPartition, list[ConsumerRecord]]
    ) -> list[Batch]:
        """Return what was fetched as batches; put it back if that cannot be done now."""
        try:
            batches = await reader.batches(fetched)
        except TryAgain:
            for place, records in fetched.items():
                await self.seek_held(self._ours(place), records[0].offset)
            raise
        self._count(fetched)
        return batches

    def _count(self, fetched: Mapping[KafkaPartition, list[ConsumerRecord]]) -> None:
        """Have Faust's monitor know of the messages that it does not see."""
        monitor, consumer = self.app.monitor, self._ensure_consumer()
        for place, records in fetched.items():
            monitor.messages_received_total += len(records)
            monitor.messages_received_by_topic[place.topic] += len(records)
            monitor.track_tp_end_offset(TP(*place), consumer.highwater(place) or 0)

    async def _nap(self, timeout_s: float) -> None:
        """Wait until a fetch has brought something, or it is time to look at the group again."""
        waiter = self._ensure_consumer()._fetcher._create_fetch_waiter()
        await asyncio.wait([waiter], timeout=timeout_s)
        if waiter.done():
            waiter.result()  # raises what the group's coordinator refuses
        else:
            waiter.cancel()

    async def _commit_entries(self, entries: Mapping[KafkaPartition, OffsetAndMetadata]) -> None:
        try:
            await self._ensure_consumer().commit(entries)
        except CommitFailedError as error:
            if isinstance(error.__cause__, RebalanceInProgressError):
                raise TryAgain("the group is rebalancing", RETRY_S) from error
            raise Fenced("the group went on without this member") from error
        except IllegalStateError as error:
            raise TryAgain("the group is rebalancing", RETRY_S) from error


class BatchConsumer(driver.Consumer):
    """Faust's consumer, which keeps the membership and leaves it to the reader of its thread to ask for records."""

    _thread: BatchThread

    @property
    def batches(self) -> BatchThread:
        """The thread that fetches."""
        return self._thread

    def _new_consumer_thread(self) -> BatchThread:
        return BatchThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Leave positions be: they are the reader's, which knows from its durable marks where to begin."""

    async def _drain_messages(self, fetcher: ServiceT) -> None:
        """Read nothing in Faust's loop, until the fetcher is stopped."""
        await cast("Service", fetcher).wait_until_stopped()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Say nothing of streams that stand still, since there are none; agents measure lag and readiness."""


class Transport(driver.Transport):
    """`marquee+kafka://host:port`: Kafka, in whole batches."""

    Consumer: ClassVar[type[ConsumerT]] = BatchConsumer
