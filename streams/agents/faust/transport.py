"""A Faust transport that hands whole batches over.

Faust's own consumer makes two asyncio tasks of every message. Here its consumer thread holds the membership, takes part
in rebalances and fetches, as ever; but what a fetch has brought stays whole until a reader in another thread asks for
it. The bound is the fetch: the client library reads ahead no more than one answer of each broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Mapping
from typing import Any, ClassVar, Final, Protocol, cast

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import CommitFailedError, IllegalStateError, InvalidSessionTimeoutError, KafkaError
from aiokafka.errors import RebalanceInProgressError as Rebalancing
from aiokafka.structs import OffsetAndMetadata
from aiokafka.structs import TopicPartition as KafkaPartition
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.transports import ConsumerT
from mode import Service, ServiceT

from streams.errors import Fenced, FixRequest, TryAgain
from streams.event_log.kafka.consumer import MIN_SESSION_MS
from streams.event_log.kafka.membership import Membership
from streams.event_log.protocol import Record

logger = logging.getLogger(__name__)

RETRY_S: Final = 0.5
MAX_RETRY_S: Final = 5.0
"""Between attempts to reach a cluster that is away: twice as long each time, up to this."""

COMMIT_TIMEOUT_S: Final = 5.0

AWAY_S: Final = 0.02
"""A reader that was away for longer gets a second helping: aiokafka fetches again only once all was taken, so what
waits came in just after the last call, and what has come since is still with the broker."""

SECOND_HELPING_SHARE: Final = 0.25
SECOND_HELPING_S: Final = 0.03
"""Such a fetch is waited for as long as this share of the time away, at most so long."""

Fetched = dict[KafkaPartition, list[Record]]


def begins_of(fetched: Fetched) -> dict[KafkaPartition, int]:
    """Return where to read from to get the same once more."""
    return {at: records[0].offset for at, records in fetched.items()}


class MemberOfGroup(Protocol):
    """What the consumer thread asks of the Faust app that it belongs to."""

    @property
    def session_timeout_ms(self) -> int:
        """How long a member may be silent before the group goes on without it."""
        ...

    def new_client(self, session_ms: int) -> AIOKafkaConsumer:
        """Return a client that will be a member of the group."""
        ...


class BatchThread(driver.AIOKafkaConsumerThread):
    """Faust's consumer thread, which hands records over when asked. Its coroutines run in the thread's own loop, and
    raise aiokafka's errors; partitions have Kafka's names."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._group = cast("MemberOfGroup", self.app)
        self._session_ms = self._group.session_timeout_ms
        self._membership: Membership | None = None
        self._committed: dict[KafkaPartition, int] = {}
        self._first = 0
        self._left_s: float | None = None
        """When the reader went away with what it had taken."""

    # What Faust asks for

    async def on_start(self) -> None:
        """Connect to the cluster; wait for one that is away."""
        self.time_started = asyncio.get_running_loop().time()
        delay_s = RETRY_S
        while not self.should_stop:
            try:
                await self._connect()
            except KafkaError as error:
                logger.warning("the event log is away: %r", error)
                await self.sleep(delay_s)
                delay_s = min(2 * delay_s, MAX_RETRY_S)
            else:
                return

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """A rebalance begins."""
        self._known_membership().on_partitions_revoked(revoked)
        await self._tell_faust(super().on_partitions_revoked(revoked))

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """A rebalance is over."""
        self._known_membership().on_partitions_assigned({KafkaPartition(*at) for at in assigned})
        await self._tell_faust(super().on_partitions_assigned(assigned, generation_id))

    def close(self) -> None:
        """Do nothing in a rebalance that meets the stop: stopping closes the client, in the loop that it lives in."""

    # What the reader asks for

    async def begin(self) -> None:
        """Begin with a new reader, who holds nothing, and hears at its polls what the group gives it."""
        self._known_membership().tell_anew()
        self._committed.clear()

    async def take(self, max_records: int, timeout_s: float) -> Fetched:
        """Return the next records, or nothing: after the time, or at once when what is held has changed.

        Raises Fenced once if the group put this member out."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        membership = self._known_membership()
        held = membership.held
        was_away = True
        try:
            with membership.alive():
                while True:
                    with contextlib.suppress(IllegalStateError):  # given out anew meanwhile: the next step tells
                        membership.step()
                    if membership.held != held:
                        return {}
                    fetched = await self._fetched(max_records)
                    left_s = deadline_s - loop.time()
                    if fetched or left_s <= 0:
                        return await self._with_second_helping(fetched, max_records) if was_away else fetched
                    was_away = False
                    await self._wait(max_records, left_s)
        except InvalidSessionTimeoutError as error:
            await self._join_for_longer(error)
            return {}
        finally:
            self._left_s = loop.time()

    async def put(self, offsets: Mapping[KafkaPartition, int]) -> None:
        """Read on from these offsets, in the partitions that are still held."""
        membership = self._known_membership()
        for at in offsets.keys() & membership.held:
            membership.positions[at] = offsets[at]
            with contextlib.suppress(IllegalStateError):  # given out anew meanwhile: it counts if the partition is kept
                self._ensure_consumer().seek(at, offsets[at])

    async def commit_held(self, offsets: Mapping[KafkaPartition, tuple[int, str]]) -> None:
        """Commit offsets, each with a note; never backwards. Raises Fenced if the group put this member out, TryAgain
        while it rebalances."""
        membership = self._known_membership()
        if membership.was_put_out:
            raise Fenced("the group went on without this member")
        if not membership.is_current:
            raise TryAgain("the group is rebalancing", 0.1)
        ahead = {at: OffsetAndMetadata(*one) for at, one in offsets.items() if one[0] > self._committed.get(at, -1)}
        if not ahead:
            return
        try:
            await asyncio.wait_for(self._ensure_consumer().commit(ahead), COMMIT_TIMEOUT_S)
        except (CommitFailedError, IllegalStateError) as error:
            if isinstance(error.__cause__, Rebalancing):
                raise TryAgain("the group is rebalancing", 0.1) from error
            raise Fenced("the group went on without this member") from error
        self._committed.update((at, one.offset) for at, one in ahead.items())
        self.app.monitor.on_tp_commit({TP(*at): one.offset for at, one in ahead.items()})

    @property
    def held(self) -> frozenset[KafkaPartition]:
        """The partitions that the reader was told it holds. For any thread."""
        return self._membership.held if self._membership is not None else frozenset()

    @property
    def positions(self) -> dict[KafkaPartition, int]:
        """The next offset to read of each partition that has one yet. For any thread."""
        return self._membership.positions.copy() if self._membership is not None else {}

    # Leaves

    async def _tell_faust(self, told: Coroutine[Any, Any, None]) -> None:
        """Have Faust's own loop take in a rebalance. Once the app stops it may listen no more: it is not waited for."""
        telling = asyncio.ensure_future(told)
        stopping = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait((telling, stopping), return_when=asyncio.FIRST_COMPLETED)
            if telling.done():
                telling.result()
        finally:
            telling.cancel()
            stopping.cancel()

    def _known_membership(self) -> Membership:
        if self._membership is None:
            raise TryAgain("the worker has not reached the event log yet", RETRY_S)
        return self._membership

    async def _connect(self) -> None:
        consumer = self._group.new_client(self._session_ms)
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        self._consumer, self._membership = consumer, Membership(consumer)

    async def _join_for_longer(self, error: InvalidSessionTimeoutError) -> None:
        """Join anew with the session that brokers allow by default, where they refuse a shorter one."""
        if self._session_ms >= MIN_SESSION_MS:
            raise FixRequest("MARQUEE_SESSION_TIMEOUT_MS", "the brokers do not allow it") from error
        logger.warning("the brokers allow no session this short: %s ms", self._session_ms)
        self._session_ms = MIN_SESSION_MS
        refused = self._ensure_consumer()
        topics = set(refused.subscription())
        await refused.stop()
        await self._connect()
        self._ensure_consumer().subscribe(topics, listener=self._rebalance_listener)

    async def _fetched(self, max_records: int) -> Fetched:
        """Return what fetches have brought: an equal share of each partition, beginning where the last call ended;
        then again, as long as there is room. It waits for nothing, so that no rebalance comes in between."""
        membership = self._known_membership()
        fetched: Fetched = {}
        left = max_records
        waiting = [] if membership.rebalancing else self._rotated(membership)
        while waiting and left > 0:
            going_on = []
            for visited, at in enumerate(waiting):
                share = -(-left // (len(waiting) - visited))
                records = await membership.take(at, share)
                self._first += 1
                left -= len(records)
                if records:
                    fetched.setdefault(at, []).extend(records)
                    membership.positions[at] = records[-1].offset + 1
                if len(records) == share:
                    going_on.append(at)
                if left == 0:
                    break
            waiting = going_on
        self._count(fetched)
        return fetched

    async def _with_second_helping(self, fetched: Fetched, max_records: int) -> Fetched:
        """Return what was taken with what can be fetched at once beside it, unless the group changes meanwhile. If it
        cannot be told, what was taken is put back."""
        away_s = asyncio.get_running_loop().time() - self._left_s if self._left_s is not None else 0.0
        left = max_records - sum(map(len, fetched.values()))
        if not fetched or away_s <= AWAY_S or left <= 0:
            return fetched
        try:
            await self._wait(left, min(away_s * SECOND_HELPING_SHARE, SECOND_HELPING_S))
            changed = self._known_membership().changed.is_set()
            second = {} if changed else await self._fetched(left)
        except BaseException:
            await self.put(begins_of(fetched))
            raise
        for at, records in second.items():
            fetched.setdefault(at, []).extend(records)
        return fetched

    def _rotated(self, membership: Membership) -> list[KafkaPartition]:
        ready = sorted(membership.held & membership.positions.keys())
        first = self._first % len(ready) if ready else 0
        return ready[first:] + ready[:first]

    async def _wait(self, max_records: int, timeout_s: float) -> None:
        """Wait for records, or for a change in the group."""
        membership = self._known_membership()
        waits: list[asyncio.Future[object]] = [asyncio.ensure_future(membership.changed.wait())]
        if max_records > 0 and membership.positions and not membership.rebalancing:
            waits.append(asyncio.ensure_future(membership.arrival(timeout_s)))
        try:
            done, _ = await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()
        for each in done:
            each.result()

    def _count(self, fetched: Fetched) -> None:
        """Have Faust's monitor know of the messages that it does not see."""
        monitor = self.app.monitor
        for place, records in fetched.items():
            monitor.messages_received_total += len(records)
            monitor.messages_received_by_topic[place.topic] += len(records)
            monitor.track_tp_end_offset(TP(*place), self.highwater(TP(*place)) or 0)


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

    async def verify_all_partitions_active(self) -> None:
        """Look for no streams that stand still, since there are none; agents measure lag and readiness."""


class Transport(driver.Transport):
    """`marquee+kafka://host:port`: Kafka, in whole batches."""

    Consumer: ClassVar[type[ConsumerT]] = BatchConsumer
