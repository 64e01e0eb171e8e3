"""What agents that fold a topic into states have in common: batches in memory, writes now and then, marks of how far.

States are written in the subclass's order, the marks after them all: whatever a crash cuts off lies after the mark, and
is folded again by whoever takes the partition over.

Where the durable store is far away, a snapshot is written beside the fold, one at a time, and changed states are
published in the hot store ahead of it: that is what homepages wait for. What is published so is no witness of anything;
whoever takes over folds from the durable store's marks and members, and comes to the same states.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from streams import metrics
from streams.agents.boundaries import Boundaries
from streams.agents.dead_letters import Rejected
from streams.agents.folded_marks import FoldedMarks
from streams.agents.generation import Generation
from streams.agents.refilling import HotStoreWatch
from streams.agents.writing import AtOnce, Snapshot, Writing
from streams.errors import Fenced
from streams.event_log.protocol import Batch, TopicPartition
from streams.positions import NOTHING, pack_position, unpack_position

BUSY_RECORDS: Final = 500
"""So many records since the last flush mean that more are waiting."""

BEHIND_MS: Final = 2_000
"""An agent that is busy with records older than this is behind: it writes states that change again soon later, which is
several times as fast. One that keeps up writes at once, since a homepage waits for it."""

PUBLISHED_BEHIND_MS: Final = 500
"""One that is behind, and writes beside its fold, still publishes so often: pages wait no longer than that, beside what
it is behind, and a state that changes a hundred times meanwhile is sent once."""

REST_MS: Final = 1_000
MAX_REST_MS: Final = 2_000
"""Between two writes beside the fold, within these bounds as long as the last one took: no page waits for them, and the
durable store wants the processors that pages are waiting for; a title that changes ten times is written once. Not for
longer: each write also looks whether a store was lost, or a rebuild has switched generations."""

UNWRITTEN_RECORDS: Final = 20_000
"""No more records than these (a batch over them while stores are away) wait to be written. After a crash so many fold
again in a quarter of a second; and a title that changes ten times meanwhile is written once."""

GATHERED_RECORDS: Final = UNWRITTEN_RECORDS // 2
"""What an agent that is behind gathers before it has it written beside the fold: as many again are folded meanwhile."""


class DeadLetterSink(Protocol):
    """Where records go that no retry can help."""

    def put_all(self, batch_topic: str, partition: int, rejected: Sequence[Rejected], epoch: int) -> None:
        """Put records of one partition and epoch aside, durably; a record put twice is kept once."""
        ...


@dataclass
class Held:
    """What is held of one partition. taken: position of the last record taken in. written: all up to it is in both
    stores. forwarded: position of the last record that belonged elsewhere and was appended there."""

    taken: int = NOTHING
    written: int = NOTHING
    forwarded: int = NOTHING


HeldT = TypeVar("HeldT", bound=Held)
ReadT = TypeVar("ReadT")


class FoldingAgent(ABC, Generic[HeldT, ReadT]):
    """An Agent that folds in memory; a subclass says what is held of a partition, how a batch is folded into it, and in
    which order states are written.

    executor: of one thread, which writes beside the fold; None to write within `flush`.
    """

    name: str
    topics: Sequence[str]
    keys_move = False
    """Whether what is folded belongs to a key, which a growth of the topic may move to another partition."""

    def __init__(
        self,
        marks: FoldedMarks,
        dead_letters: DeadLetterSink,
        boundaries: Boundaries,
        generation: Generation,
        watch: HotStoreWatch,
        executor: Executor | None = None,
    ) -> None:
        self._watch = watch
        self._writes_beside = executor is not None
        self._executor = executor or AtOnce()
        self._writing: Writing[HeldT] | None = None
        self._generation = generation
        self._marks = marks
        self._boundaries = boundaries
        self._dead_letters = dead_letters
        self._partitions: dict[TopicPartition, HeldT] = {}
        self._prepared: list[tuple[Batch, ReadT]] = []
        """Batches of this turn, with what was read of them, whose states were loaded."""
        self._next: dict[TopicPartition, int] = {}
        """The offset that is to come next, of each partition that was taken over."""
        self._since_flush = 0
        self._unwritten = 0
        self._newest_ms = 0
        self._published_ms = 0
        self._unchecked: Mapping[TopicPartition, int] | None = None
        """The marks before states were loaded, if the store could not be asked since whether it still has them."""
        self._began_ms = 0
        self._rests_until_ms = 0

    def assigned(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Take over partitions, each from where the durable store ends: what it lacks is folded (again)."""
        places = list(partitions)
        self.revoked(places)
        if self._holds_any:
            self._generation.check()
        else:
            self._generation.begin()
        begins = self._marks.take_over(places)
        self._next.update(begins)
        return begins

    def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """Drop what is held for partitions that others own now."""
        places = list(partitions)
        self._settle()
        self._marks.give_up(places)
        self._boundaries.forget()
        for place in places:
            self._partitions.pop(place, None)
            self._next.pop(place, None)
        self._prepared.clear()
        if not self._partitions:
            self._unchecked = None
            self._writing = None
            self._unwritten = 0

    def prepare(self, batches: Sequence[Batch]) -> None:
        """Load what the batches of a turn need, in one go for all of their partitions: a far store is asked once, not
        once for each. Each is still to be processed."""
        self._prepared.clear()
        some = [
            (held, batch, self._read(batch))
            for batch in batches
            if (held := self._partitions.get(TopicPartition(batch.topic, batch.partition))) is not None
        ]
        self._load_and_check([(held, read) for held, _, read in some])
        self._prepared += [(batch, read) for _, batch, read in some]

    def process(self, batch: Batch) -> None:
        """Fold a batch in memory; put aside what cannot be folded. May be called again with the same batch."""
        if not batch.records:
            return
        if self._unwritten >= UNWRITTEN_RECORDS:
            self._make_room()
        if self.keys_move:
            self._boundaries.wait(batch)
        place = TopicPartition(batch.topic, batch.partition)
        self._check_follows(place, batch.records[0].offset)
        held = self._held_of(place, batch.epoch)
        forwarded = held.forwarded
        rejected = self._take_in(held, batch, self._read_and_loaded(held, batch))
        if rejected:
            self._dead_letters.put_all(batch.topic, batch.partition, rejected, batch.epoch)
        held.taken = max(held.taken, pack_position(batch.epoch, batch.records[-1].offset))
        if place in self._next:
            self._next[place] = batch.records[-1].offset + 1
        self._newest_ms = batch.records[-1].timestamp_ms
        self._since_flush += len(batch.records)
        self._unwritten += len(batch.records)
        if held.forwarded > forwarded:
            self.write()  # what was appended elsewhere is appended again unless the mark says that it was

    def _read_and_loaded(self, held: HeldT, batch: Batch) -> ReadT:
        for prepared, read in self._prepared:
            if prepared is batch:
                return read
        read = self._read(batch)
        self._load_and_check([(held, read)])
        return read

    def _load_and_check(self, some: Sequence[tuple[HeldT, ReadT]]) -> None:
        """Load what batches need. Raises Fenced where states came from a durable store that lacks what it had: folded
        and published, they would pass for whole ones before the next write has looked."""
        cut_short = self._unchecked is not None
        known = self._unchecked = self._unchecked or self._marks.known
        if (self._load(some) or cut_short) and self._writes_beside:
            self._marks.check(known)
        self._unchecked = None

    def _check_follows(self, place: TopicPartition, offset: int) -> None:
        """Raise Fenced if records were passed over on the way here, which states would miss for ever: what is held of
        the partition is begun anew. Those that retention took away, or that a log keeps to itself, are none."""
        due = self._next.get(place, offset)
        if offset > due and self._boundaries.holds_more(place, due, offset):
            metrics.PASSED_OVER.labels(self.name, place.topic).inc()
            raise Fenced(f"records of {place.topic}/{place.partition} from {due} on were passed over, to {offset}")

    def _held_of(self, place: TopicPartition, epoch: int) -> HeldT:
        """Return what is held of a partition. States of an earlier epoch are let go: they may have changed elsewhere
        since their keys moved away, and come back when the topic grows once more."""
        held = self._partitions.get(place)
        if held is not None and self.keys_move and held.taken != NOTHING and unpack_position(held.taken)[0] != epoch:
            self.write()
            held = None
        if held is None:
            held = self._partitions[place] = self._hold(place)
        return held

    def flush(self, now_ms: int) -> Mapping[TopicPartition, int]:
        """Write what is due to both stores; return the next offset of each partition up to which all is written."""
        behind = self._since_flush >= BUSY_RECORDS and now_ms - self._newest_ms >= BEHIND_MS
        self._since_flush = 0
        if self._writes_beside:
            if not behind or now_ms - self._published_ms >= PUBLISHED_BEHIND_MS:
                self._publish(list(self._partitions.values()))
                self._published_ms = now_ms
            self._advance(now_ms, behind=behind)
        elif not behind or self._unwritten >= UNWRITTEN_RECORDS:
            self.write()
        written = ((place, held.written) for place, held in self._partitions.items())
        return {place: unpack_position(position)[1] + 1 for place, position in written if position != NOTHING}

    def write(self) -> None:
        """Write everything to both stores, and return when it is there.

        Raises TryAgain when one is away: calling again goes on. Raises Fenced when the durable one has lost what it
        held, or a member was forgotten whose state has changed since: it is to be folded anew.
        """
        self._finish()
        self._begin()
        self._finish()

    def _advance(self, now_ms: int, *, behind: bool) -> None:
        """Have the next snapshot written once the last one is, and some rest was had."""
        if self._writing is not None:
            if self._writing.future is not None and not self._writing.future.done():
                return  # not even a failure is known yet
            self._finish()
            took_ms = now_ms - self._began_ms
            self._rests_until_ms = now_ms + min(max(took_ms, REST_MS), MAX_REST_MS)
        rests = behind or 0 < self._rests_until_ms - now_ms <= MAX_REST_MS  # the clock may have been put back
        if not rests or self._unwritten >= GATHERED_RECORDS:
            self._began_ms = now_ms
            self._begin()

    def _make_room(self) -> None:
        """Wait until fewer records than the bound are unwritten."""
        self._finish()
        if self._unwritten >= UNWRITTEN_RECORDS:
            self.write()

    def _begin(self) -> None:
        """Begin to write what is unwritten."""
        taken = {place: held.taken for place, held in self._partitions.items() if held.taken != NOTHING}
        holders = {place: self._partitions[place] for place in taken}
        snapshot = self._snapshot(list(holders.values())) if self._unwritten else None
        self._writing = Writing(taken, holders, self._unwritten, snapshot)
        self._writing.future = self._executor.submit(self._write, self._writing)

    def _finish(self) -> None:
        """Wait for the write under way, if there is one; begin it again if it had failed. Raises what it raises."""
        writing = self._writing
        if writing is None:
            return
        future = writing.future or self._executor.submit(self._write, writing)
        writing.future = None
        future.result()
        self._writing = None
        if writing.snapshot is None:
            return
        for place, position in writing.taken.items():
            if self._partitions.get(place) is writing.holders[place]:
                writing.holders[place].written = position
        writing.snapshot.written()
        self._unwritten -= writing.records

    def _settle(self) -> None:
        """Wait for the write under way; one that failed is tried again, or fenced, by the next `flush`."""
        future = self._writing.future if self._writing is not None else None
        if future is not None and future.exception() is None:
            self._finish()

    def _write(self, writing: Writing[HeldT]) -> None:
        """Write a snapshot, the marks last. In the executor's thread: nobody else uses marks and watch meanwhile."""
        if self._holds_any:  # one that waits for its first partition has begun nothing
            self._generation.check()
        self._watch.look(self._marks.by_key)
        self._marks.check()
        if writing.snapshot is None:
            return
        self._watch.begin(self._marks.keyed(writing.taken))
        writing.snapshot.write()
        self._watch.end(self._marks.keyed(writing.taken))
        self._marks.put(writing.taken)

    def close(self) -> None:
        """Write what is held, due or not."""
        self.write()

    @property
    def _holds_any(self) -> bool:
        return self._marks.holds_any or bool(self._partitions)

    @abstractmethod
    def _hold(self, place: TopicPartition) -> HeldT:
        """Return what is held of a partition of which nothing is."""

    @abstractmethod
    def _read(self, batch: Batch) -> ReadT:
        """Tell what of a batch may be folded, and what not."""

    @abstractmethod
    def _load(self, some: Sequence[tuple[HeldT, ReadT]]) -> bool:
        """Load the states that batches need, and let go of those that were deleted from the stores; return whether the
        durable store was asked for any."""

    @abstractmethod
    def _take_in(self, held: HeldT, batch: Batch, read: ReadT) -> list[Rejected]:
        """Fold a batch, loading states that were let go of since it was prepared; return the records that cannot be
        folded."""

    @abstractmethod
    def _publish(self, holders: Sequence[HeldT]) -> None:
        """Put what has changed since the last time into the hot store."""

    @abstractmethod
    def _snapshot(self, holders: Sequence[HeldT]) -> Snapshot:
        """Return what has changed since the last snapshot, which has been written."""
