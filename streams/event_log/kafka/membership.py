"""Which partitions a member of a consumer group owns, told from what its AIOKafkaConsumer goes through.

Kafka takes all partitions of all members away in each rebalance and gives them out anew. A member that was in two
generations that follow one another had no successor in between: what it had before and has after, it kept. In any other
case others may have had the partition meanwhile, so it shows as lost once, before it shows as won back.

aiokafka does not say its generation in public: what is taken from inside it is in this file.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from aiokafka import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from streams.errors import Fenced
from streams.event_log.kafka.batches import unpack_as_records
from streams.event_log.protocol import Record


class Generation(NamedTuple):
    """What a member was given: by the coordinator's generation of the group, under its member id."""

    member: str
    number: int
    partitions: frozenset[Any]

    def follows(self, other: Generation) -> bool:
        """Return whether nobody else can have had this member's partitions in between."""
        return self.member == other.member and self.number == other.number + 1


NO_GENERATION = Generation("", -1, frozenset())


class Membership(ConsumerRebalanceListener):  # type: ignore[misc]
    """Follows one AIOKafkaConsumer; everything here runs in its loop.

    `held` is what the caller was told; it changes in `step` alone. `positions` are the next offsets to read."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._last = NO_GENERATION
        """The newest generation that the caller was told of."""
        self._given: Generation | None = None
        """A newer one that the caller does not know of yet."""
        self._kept: frozenset[Any] = frozenset()
        """Of what the caller was told, all that nobody else can have had since."""
        self._put_out = False
        self.rebalancing = False
        self.held: frozenset[Any] = frozenset()
        self.positions: dict[Any, int] = {}
        self.changed = asyncio.Event()

    # What aiokafka calls

    def on_partitions_revoked(self, revoked: object) -> None:
        """A rebalance begins; or this member was put out of its group."""
        self.rebalancing = True
        if self._coordinator.generation <= 0:
            self._put_out = self._put_out or bool(self.held)
            self._given, self._kept = None, frozenset()
        self.changed.set()

    def on_partitions_assigned(self, assigned: set[Any]) -> None:
        """A rebalance is over. What is kept is read on from where it was; aiokafka would begin at the commit."""
        now = Generation(self._coordinator.member_id, self._coordinator.generation, frozenset(assigned))
        self._kept = self._kept & now.partitions if now.follows(self._given or self._last) else frozenset()
        self._given = now
        self.rebalancing = False
        for at in self._kept & self.positions.keys():
            self._consumer.seek(at, self.positions[at])
        self.changed.set()

    # What the member asks

    @property
    def is_current(self) -> bool:
        """Whether what the caller was told of is what the group knows: a commit may go out."""
        coordinator = self._coordinator
        return not self._put_out and self._given is None and coordinator.generation == self._last.number

    @property
    def was_put_out(self) -> bool:
        """Whether this member was put out of its group, and the caller does not know it yet."""
        return self._put_out

    def expect(self, partitions: Mapping[str, int]) -> None:
        """Have aiokafka look at topics anew that have more partitions than it knows: the group then rebalances."""
        client = self._consumer._client
        known = {topic: len(client.cluster.partitions_for_topic(topic) or ()) for topic in partitions}
        if any(known[topic] < count for topic, count in partitions.items()):
            client.force_metadata_update()

    async def take(self, at: Any, max_records: int) -> list[Record]:
        """Return what was fetched of a partition, at most `max_records`, without waiting."""
        unpack_as_records(self._consumer._fetcher._records.values())
        taken: list[Record] = (await self._consumer.getmany(at, max_records=max_records)).get(at, [])
        return taken

    async def arrival(self, timeout_s: float) -> None:
        """Wait until something was fetched, which stays where it is."""
        fetcher = self._consumer._fetcher
        ends = asyncio.get_running_loop().time() + timeout_s
        while not fetcher._records and (left_s := ends - asyncio.get_running_loop().time()) > 0:
            waiter = fetcher._create_fetch_waiter()
            try:
                await asyncio.wait_for(waiter, left_s)
            except TimeoutError:
                return

    def step(self) -> None:
        """Bring `held` up to date; if others may have had some of it since, without that first. What is new in it has
        no position yet. Raises Fenced once if this member was put out."""
        self.changed.clear()
        if self._put_out:
            self._put_out = False
            self._lose_all()
            if self._given is not None:
                self.changed.set()
            raise Fenced("this member did not poll, or could not be heard, for longer than the session: it was put out")
        given = self._given
        if given is None:
            return
        if (self.held - self._kept) & given.partitions:
            self._hold(self.held & self._kept)
            self.changed.set()
            return
        self._given, self._last = None, given
        self._hold(given.partitions)
        self._kept = given.partitions

    def tell_anew(self) -> None:
        """Take the caller for a new one, who knows of nothing yet and is told everything in the next steps."""
        self._lose_all()
        self._put_out = False
        if self._given is None and not self.rebalancing:  # else what is given next is told then
            self._given = self._last
        self.changed.set()

    @contextlib.contextmanager
    def alive(self) -> Iterator[None]:
        """Show Kafka that the caller polls."""
        with self._consumer._subscription.fetch_context():
            if self._coordinator is not None:
                self._coordinator.check_errors()
            yield

    @property
    def _coordinator(self) -> Any:
        return self._consumer._coordinator

    def _lose_all(self) -> None:
        self._kept = frozenset()
        self._hold(frozenset())

    def _hold(self, partitions: frozenset[Any]) -> None:
        self.held = partitions
        self.positions = {at: offset for at, offset in self.positions.items() if at in self._kept & partitions}


def own_assignor() -> type[Any]:
    """Return a sticky assignor for one consumer: aiokafka's keeps what its consumer had in the class itself."""
    return type("OwnStickyAssignor", (StickyPartitionAssignor,), {})
