"""What every event log engine offers (embedded; Kafka).

The nouns are Kafka's: a topic has partitions, a partition has offsets from 0, a consumer group commits the next offset
to read. Delivery is at least once; the position in every state makes it once in effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Message(NamedTuple):
    """A message to append: the key picks the partition (murmur2, as Kafka's default partitioner)."""

    key: bytes
    value: bytes


class Record(NamedTuple):
    """A message as read. timestamp_ms: when it was appended (Unix, ms)."""

    offset: int
    timestamp_ms: int
    key: bytes
    value: bytes


class Batch(NamedTuple):
    """Consecutive records of one partition, in offset order; epoch: that of all of them (see streams.positions)."""

    topic: str
    partition: int
    epoch: int
    records: Sequence[Record]


class TopicEpoch(NamedTuple):
    """One epoch of a topic. partitions: how many it has. starts: the offset at which it begins in each of them."""

    epoch: int
    partitions: int
    starts: tuple[int, ...]


Epochs = tuple[TopicEpoch, ...]
"""The epochs of a topic since it was made, oldest first; more than one only if it has grown."""


class Appended(NamedTuple):
    """Where a message was put."""

    partition: int
    offset: int


class Consumer(Protocol):
    """One member of a consumer group. Not thread-safe: one thread polls, commits and closes."""

    def poll(self, max_records: int, timeout_s: float) -> list[Batch]:
        """Return the next batches, at most `max_records` records in all; empty after `timeout_s` without any.

        Also keeps the membership alive and rebalances; `assignment` may differ after it. It then returns at once, so
        that a partition lost and won back shows as lost in between. With `max_records` 0 it does only that. Raises
        Fenced once if others took over in the meantime, or a topic was recreated: the caller drops what it holds, and
        the next poll joins anew.
        """
        ...

    def assignment(self) -> frozenset[TopicPartition]:
        """Return the partitions that this member owns now."""
        ...

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Record the next offset to read of each partition. Raises Fenced if a partition is no longer owned, TryAgain
        while that is not known, as in a rebalance."""
        ...

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from `offset` of a partition that this member owns. Raises Fenced if it does not."""
        ...

    def close(self) -> None:
        """Leave the group, so that others take over at once."""
        ...


class EventLog(Protocol):
    """A durable, partitioned, append-only log. Thread-safe; several processes may hold one open."""

    def create_topic(self, topic: str, partitions: int) -> None:
        """Create a topic unless it exists. Raises FixRequest if it exists with another partition count."""
        ...

    def partition_count(self, topic: str) -> int:
        """Return the number of partitions. Raises FixRequest for an unknown topic."""
        ...

    def epoch(self, topic: str) -> int:
        """Return the topic's epoch, from 1: what is appended next is of it. A recreated topic has a higher one, and so
        has one that has grown."""
        ...

    def epoch_at(self, topic: str, partition: int, offset: int) -> int:
        """Return the epoch that a record at `offset` of a partition has: at or above the recorded start of an epoch it
        is that epoch's. Equals `epoch` for a topic that has never grown."""
        ...

    def epochs(self, topic: str) -> Epochs:
        """Return the topic's epochs since it was made, oldest first (see streams.event_log.epochs). The last one's are
        `epoch` and `partition_count`."""
        ...

    def grow_topic(self, topic: str, partitions: int) -> None:
        """Raise the number of partitions to `partitions`, and begin a new epoch at the present end of each partition:
        keys move between partitions, so what a key's state includes is told apart by epoch. Writers are to pause
        meanwhile. Does nothing if the topic has as many; raises FixRequest for fewer, or an unknown topic."""
        ...

    def topic_id(self, topic: str) -> str:
        """Return what tells a topic from every other that has or had its name, also in a log that was lost; "" if the
        log does not know. Raises FixRequest for an unknown topic."""
        ...

    def raise_epoch(self, topic: str, above: int) -> None:
        """Have all of a topic, what it holds included, begin in an epoch above `above`, unless its epoch is that: for a
        log that is not the one that states were made from (see streams.agents.lost_log). What groups have read and
        committed of it counts no more. Raises FixRequest for an unknown topic, or where there is no higher epoch."""
        ...

    def delete_topic(self, topic: str) -> None:
        """Delete a topic and its records. Raises FixRequest for an unknown topic."""
        ...

    def append(self, topic: str, messages: Sequence[Message]) -> list[Appended]:
        """Append all messages, durably, those of one key in their order; return where each was put.

        Raises FixRequest or SlowDown (when full) before any is written, TryAgain when they cannot be written. The
        embedded log then has none of them. Kafka may have some, of each partition the first ones: that is told apart by
        `event_id` when they are appended again, as everything that clients repeat."""
        ...

    def read(self, topic: str, partition: int, offset: int, max_records: int) -> list[Record]:
        """Return up to `max_records` records from `offset` on (from the start offset if retention has passed it)."""
        ...

    def start_offset(self, topic: str, partition: int) -> int:
        """Return the offset of the oldest record kept."""
        ...

    def end_offset(self, topic: str, partition: int) -> int:
        """Return the offset that the next record will get."""
        ...

    def delete_records(self, topic: str, partition: int, before_offset: int) -> int:
        """Delete a partition's records below `before_offset`; return how many there were."""
        ...

    def enforce_retention(self, now_ms: int) -> int:
        """Delete what retention no longer keeps; return how many records. 0 from an engine that does so by itself (as
        Kafka, by its topics' retention.ms and retention.bytes, whether groups have read it or not)."""
        ...

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        """Return the group's committed offset (the next to read), None if it never committed."""
        ...

    def consumer(self, group: str, topics: Sequence[str]) -> Consumer:
        """Join a consumer group; it reads from the committed offsets, or from the start."""
        ...

    def close(self) -> None:
        """Release files and threads."""
        ...
