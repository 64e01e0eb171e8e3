"""Feeding an agent the whole of a topic: what only the warehouse has, then the log, and on as the log grows.

The agent is the one that folds live. It is fed in this process, without a consumer group: positions and marks alone
decide, as they do live, so a feeding that dies is begun anew from its marks, and two at once do no harm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from streams.agents.dead_letters import Rejected
from streams.agents.folded_marks import KIND as MARKS
from streams.agents.folded_marks import mark_key
from streams.agents.folding_agent import DeadLetterSink, FoldingAgent
from streams.agents.protocol import NotYet
from streams.errors import Fenced, FixRequest
from streams.event_log.epochs import boundary_of, partitions_in, split
from streams.event_log.protocol import Batch, EventLog, TopicPartition
from streams.positions import NOTHING, unpack_position
from streams.rebuild.past import Past, first_missing
from streams.stores.protocol import DurableStore

Source = Literal["auto", "log", "warehouse"]
"""Where records come from: the log, and what it lacks from the warehouse (auto); the log alone; or as much as there is
from the warehouse, the rest from the log."""

READ_RECORDS: Final = 2_000


class NewLetters:
    """Dead letters of a feeding: those that the live group has yet to meet. The others were put aside by it."""

    def __init__(self, log: EventLog, group: str, letters: DeadLetterSink) -> None:
        self._log = log
        self._group = group
        self._letters = letters

    def put_all(self, batch_topic: str, partition: int, rejected: Sequence[Rejected], epoch: int) -> None:
        """Put aside what the live group has not committed."""
        committed = self._log.committed(self._group, TopicPartition(batch_topic, partition)) or 0
        known = partitions_in(self._log.epochs(batch_topic), epoch) is not None
        new = [one for one in rejected if known and one.record.offset >= committed]
        if new:
            self._letters.put_all(batch_topic, partition, new, epoch)


@dataclass
class Fed:
    """How far a feeding is. from_warehouse, from_log: records fed; left: records of the log that are still to come."""

    from_warehouse: int = 0
    from_log: int = 0
    left: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    """By partition, how many records neither came nor were asked for (source `log`)."""


class Feeding:
    """One agent and its topic. durable: the store of the agent's marks, under the names of its generation."""

    def __init__(
        self,
        agent: FoldingAgent[Any, Any],
        log: EventLog,
        durable: DurableStore,
        past: Past,
        source: Source,
    ) -> None:
        self.fed = Fed()
        self._agent = agent
        self._topic = agent.topics[0]
        self._log = log
        self._durable = durable
        self._past = past
        self._source = source
        self._next: dict[int, int] = {}

    def begin(self) -> None:
        """Take over every partition from where the marks end, nothing held in memory."""
        self._agent.revoked(self._places(range(len(self._next))))
        self._next = {}
        self._take_over()

    def feed_past(self, report: Callable[[Fed], None]) -> None:
        """Feed what comes from the warehouse. Raises FixRequest if records are there neither."""
        if self._source == "log":
            self._leave_out()
            return
        for batch in self._older_topics():
            self._feed(batch)
            self.fed.from_warehouse += len(batch.records)
            report(self.fed)
        self._agent.write()
        ranges = self._past.ranges()
        epochs = self._log.epochs(self._topic)
        self._take_over()
        for one in epochs:
            for partition in range(one.partitions):
                end = self._end_in_warehouse(one.epoch, partition, ranges.get((one.epoch, partition), []))
                for batch in self._past.batches(one.epoch, partition, self._next[partition], end):
                    self._feed(batch)
                    self._next[partition] = batch.records[-1].offset + 1
                    self.fed.from_warehouse += len(batch.records)
                    report(self.fed)
                self._next[partition] = max(self._next[partition], end)

    def follow(self) -> int:
        """Feed one read of every partition of the log; return how many records came."""
        self._take_over()
        count = sum(self._follow(partition) for partition in self._next)
        self._agent.flush(time.time_ns() // 1_000_000)
        ends = {partition: self._log.end_offset(self._topic, partition) for partition in self._next}
        self.fed.left = sum(max(0, end - self._next[partition]) for partition, end in ends.items())
        return count

    def write(self) -> None:
        """Have everything that was fed written, and marked."""
        self._agent.write()

    def _follow(self, partition: int) -> int:
        offset = self._next[partition]
        if self._source != "log" and self._log.start_offset(self._topic, partition) > offset:
            self.feed_past(lambda _fed: None)  # retention has overtaken us
            offset = self._next[partition]
        count = 0
        records = self._log.read(self._topic, partition, offset, READ_RECORDS)
        for batch in split(self._topic, partition, self._log.epochs(self._topic), records):
            try:
                self._feed(batch)
            except NotYet:
                break
            self._next[partition] = batch.records[-1].offset + 1
            count += len(batch.records)
        self.fed.from_log += count
        return count

    def _feed(self, batch: Batch) -> None:
        try:
            self._agent.process(batch)
        except NotYet:  # other partitions may be there already, unwritten
            self._agent.write()
            try:
                self._agent.process(batch)
            except NotYet:
                if batch.records[0].offset < self._log.start_offset(self._topic, batch.partition):
                    self._feed_log_below(batch)
                    self._agent.process(batch)
                else:
                    raise

    def _feed_log_below(self, batch: Batch) -> None:
        """Feed from the log what is of earlier epochs, for a batch of the warehouse that has to come after it."""
        for partition, end in boundary_of(self._log.epochs(self._topic), batch.epoch).items():
            while self._next[partition] < end and self._follow(partition):
                pass
        self._agent.write()

    def _take_over(self) -> None:
        count = self._log.partition_count(self._topic)
        if count > len(self._next):
            begins = self._agent.assigned(self._places(range(len(self._next), count)))
            self._next.update({at.partition: offset for at, offset in begins.items()})

    def _places(self, partitions: range) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in partitions]

    def _older_topics(self) -> Iterator[Batch]:
        """Yield what the warehouse has of the topic before it was made anew, epoch by epoch, after the marks."""
        born = self._log.epochs(self._topic)[0].epoch
        ranges = {place: parts for place, parts in self._past.ranges().items() if place[0] < born}
        self._check_older(ranges)
        for epoch, partition in ranges:
            marked_epoch, last = self._mark(partition)
            if epoch >= marked_epoch:
                yield from self._past.batches(epoch, partition, last + 1 if epoch == marked_epoch else 0)

    def _check_older(self, ranges: dict[tuple[int, int], list[tuple[int, int]]]) -> None:
        """Raise FixRequest where records are missing: an epoch goes on where the one before ended, or begins at 0."""
        ends: dict[int, int] = {}
        for (epoch, partition), parts in ranges.items():
            first = parts[0][0]
            begin = first if first in (0, ends.get(partition, 0)) else ends.get(partition, 0)
            missing = first_missing(parts, begin, parts[-1][1] + 1)
            if missing is not None:
                self._refuse(epoch, partition, missing)
            ends[partition] = parts[-1][1] + 1

    def _mark(self, partition: int) -> tuple[int, int]:
        key = mark_key(self._agent.name, TopicPartition(self._topic, partition))
        mark = self._durable.positions(MARKS, [key])[0]
        return (0, 0) if mark == NOTHING else unpack_position(mark)

    def _end_in_warehouse(self, epoch: int, partition: int, ranges: Sequence[tuple[int, int]]) -> int:
        """Return the offset up to which an epoch of a partition is to come from the warehouse, which has all of it."""
        begin, start = self._next[partition], self._log.start_offset(self._topic, partition)
        if ranges and ranges[-1][1] >= self._log.end_offset(self._topic, partition):
            raise FixRequest(
                "log",
                f"the warehouse has records of {self._topic}/{partition} in epoch {epoch} that the log never had: it"
                " was made anew in an epoch that it had before; delete the topic and make it again, in a higher one",
            )
        epochs = self._log.epochs(self._topic)
        following = next((one for one in epochs if one.epoch > epoch), None)
        limit = start if following is None else min(start, following.starts[partition])
        missing = first_missing(ranges, begin, limit) if begin < limit else None
        if missing is not None:
            self._refuse(epoch, partition, missing)
        if self._source == "warehouse":
            there = first_missing(ranges, begin, ranges[-1][1] + 1) if ranges else None
            limit = max(limit, begin if there is not None else (ranges[-1][1] + 1 if ranges else begin))
        return max(begin, limit)

    def _refuse(self, epoch: int, partition: int, offset: int) -> None:
        raise FixRequest(
            "--from",
            f"the record at offset {offset:,} of {self._topic}/{partition} (epoch {epoch}) is neither in the log nor in"
            " the warehouse; put the warehouse's files back, or build without what is missing: --from log",
        )

    def _leave_out(self) -> None:
        for partition, offset in self._next.items():
            start = self._log.start_offset(self._topic, partition)
            if start > offset:
                self.fed.left_out[f"{self._topic}/{partition}"] = start - offset
                self._next[partition] = start


def patiently(feeding: Feeding, step: Callable[[], object]) -> None:
    """Do a step; where a member was forgotten meanwhile or a store replaced, begin anew from the marks first."""
    try:
        step()
    except Fenced:
        feeding.begin()
        step()
