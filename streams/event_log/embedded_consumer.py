"""A consumer on the embedded log: it reads the partitions that its membership holds, fairly, and commits."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from streams.errors import Fenced, FixRequest, SlowDown, TryAgain
from streams.event_log.environments import FilesMissing
from streams.event_log.epochs import split
from streams.event_log.group_store import Commit
from streams.event_log.membership import Membership
from streams.event_log.protocol import Batch, Epochs, TopicPartition
from streams.event_log.topic_log import Grown, TopicLog
from streams.event_log.wakeups import Waiter

SYNC_INTERVAL_S: Final = 0.1
"""How often a member looks at its group: so soon are a dead member's partitions taken over."""


class _Unread(NamedTuple):
    """A topic of which something may be unread, as of its change number."""

    log: TopicLog
    change: int


class ReadableLog(Protocol):
    """What a consumer needs of the log that made it."""

    @property
    def now_ms(self) -> Callable[[], int]: ...
    def partition_count(self, topic: str) -> int: ...
    def epochs(self, topic: str) -> Epochs: ...
    def committed(self, group: str, partition: TopicPartition) -> int | None: ...
    def topic_log(self, topic: str) -> TopicLog: ...
    def waiters(self, topic: str) -> Path: ...
    def mend(self) -> None: ...
    def look_again(self, topic: str) -> None: ...


class EmbeddedConsumer:
    """One member of a group. Not thread-safe; see streams.event_log.protocol.Consumer."""

    def __init__(self, log: ReadableLog, group: str, topics: Sequence[str], membership: Membership) -> None:
        self._log = log
        self._group = group
        self._topics = topics
        self._membership = membership
        self._synced_s = 0.0
        self._positions: dict[TopicPartition, int] = {}
        self._born: dict[str, int] = {}
        """The epoch in which each topic was made: commits carry it, and another one means another topic."""
        self._drained: dict[str, int] = {}
        self._first = 0
        self._waiter: Waiter | None = None
        self._closed = False

    def poll(self, max_records: int, timeout_s: float) -> list[Batch]:
        """Return the next batches; see the protocol."""
        deadline_s = time.monotonic() + timeout_s
        held = self.assignment()
        while True:
            batches = self._turn(max_records)
            left_s = deadline_s - time.monotonic()
            if batches or left_s <= 0 or self.assignment() != held:
                return batches
            self._wait(min(left_s, SYNC_INTERVAL_S))

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that this member holds."""
        return frozenset(self._positions)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from `offset`. Raises Fenced if the partition is not held."""
        self._check_held([partition])
        self._positions[partition] = offset
        self._drained.pop(partition.topic, None)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Record the next offsets to read, durably. Raises Fenced if a partition is no longer held."""
        if not offsets:
            return
        self._check_held(offsets)
        now_ms = self._log.now_ms()
        self._membership.commit({at: Commit(self._born[at.topic], offset, now_ms) for at, offset in offsets.items()})

    def close(self) -> None:
        """Leave the group. If that cannot be written, the leases end with the session or the process."""
        self._closed = True
        self._close_waiter()
        with contextlib.suppress(TryAgain, SlowDown):
            self._leave()

    def _turn(self, max_records: int) -> list[Batch]:
        """Look at the group if it is time, then read on."""
        if self._closed:
            raise FixRequest("consumer", "is closed")
        try:
            if time.monotonic() - self._synced_s >= SYNC_INTERVAL_S:
                self._sync()
            return self._fetch(max_records)
        except FilesMissing:
            self._close_waiter()
            self._log.mend()
            raise
        except Grown:
            for topic in self._born:
                self._log.look_again(topic)
            self._synced_s = 0.0  # there are partitions to be had
            return []

    def _sync(self) -> None:
        now_s = time.monotonic()
        try:
            held = self._membership.sync(self._partitions(), int(now_s * 1000))
        except Fenced:
            self._forget()
            raise
        if held != self._positions.keys():
            self._adopt(held)
        self._synced_s = now_s

    def _partitions(self) -> list[TopicPartition]:
        """Return the partitions of the topics that exist (one may have been deleted, and come back)."""
        found = []
        for topic in self._topics:
            with contextlib.suppress(FixRequest):
                found += [TopicPartition(topic, n) for n in range(self._log.partition_count(topic))]
        return found

    def _adopt(self, held: frozenset[TopicPartition]) -> None:
        """Drop the partitions let go of; start on new ones from their commits."""
        born = {topic: self._log.epochs(topic)[0].epoch for topic in {at.topic for at in held}}
        self._positions = {
            at: self._positions[at] if at in self._positions else self._log.committed(self._group, at) or 0
            for at in sorted(held)
        }
        self._born = {**born, **{topic: epoch for topic, epoch in self._born.items() if topic in born}}
        self._drained.clear()

    def _check_held(self, partitions: Mapping[TopicPartition, int] | Sequence[TopicPartition]) -> None:
        lost = [f"{at.topic}/{at.partition}" for at in partitions if at not in self._positions]
        if lost:
            raise Fenced(f"{', '.join(lost)} is not held by this member of {self._group}")

    def _leave(self) -> None:
        self._forget()
        self._membership.leave()

    def _forget(self) -> None:
        self._synced_s = 0.0
        self._positions = {}
        self._born = {}
        self._drained = {}

    def _fetch(self, max_records: int) -> list[Batch]:
        """Read on, an equal share from each partition, beginning where the last fetch ended."""
        topics = self._unread_topics() if max_records > 0 else {}
        waiting = [at for at in self._rotated() if at.topic in topics]
        batches: list[Batch] = []
        left = max_records
        visited = 0
        while visited < len(waiting) and left > 0:
            at = waiting[visited]
            share = -(-left // (len(waiting) - visited))
            records = topics[at.topic].log.read(at.partition, self._positions[at], share)
            visited += 1
            if records:
                batches += split(*at, topics[at.topic].log.epochs, records)
                left -= len(records)
        self._positions.update((TopicPartition(b.topic, b.partition), b.records[-1].offset + 1) for b in batches)
        self._first += visited
        if visited == len(waiting):
            going_on = {batch.topic for batch in batches}
            self._drained.update((topic, unread.change) for topic, unread in topics.items() if topic not in going_on)
        return batches

    def _rotated(self) -> list[TopicPartition]:
        held = list(self._positions)
        first = self._first % len(held) if held else 0
        return held[first:] + held[:first]

    def _unread_topics(self) -> dict[str, _Unread]:
        """Return the topics of which something may be unread. Raises Fenced if one was recreated."""
        found = {}
        for topic, born in self._born.items():
            log = self._opened(topic)
            if log is None or log.born != born:
                self._leave()
                raise Fenced(f"{topic} was deleted or recreated: what was read of it is void")
            change = log.changes()
            if self._drained.get(topic) != change:
                found[topic] = _Unread(log, change)
        return found

    def _opened(self, topic: str) -> TopicLog | None:
        try:
            return self._log.topic_log(topic)
        except FixRequest:
            return None

    def _wait(self, timeout_s: float) -> None:
        if self._waiter is None:
            name = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
            self._waiter = Waiter([self._log.waiters(topic) for topic in self._topics], name)
        self._waiter.wait(timeout_s)

    def _close_waiter(self) -> None:
        if self._waiter is not None:
            self._waiter.close()
            self._waiter = None
