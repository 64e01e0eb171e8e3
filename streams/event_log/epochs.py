"""The epochs of a topic that has grown: where each begins, how many partitions it has, and what follows from that.

A key's records of one epoch lie in one partition; growth moves keys, at an offset of each partition that is recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol

from streams.event_log.protocol import Batch, Epochs, Message, Record, TopicEpoch, TopicPartition
from streams.partitioner import partition_for


class GrowingLog(Protocol):
    """What an agent needs of the log that it folds."""

    def topic_id(self, topic: str) -> str: ...
    def raise_epoch(self, topic: str, above: int) -> None: ...
    def epochs(self, topic: str) -> Epochs: ...
    def read(self, topic: str, partition: int, offset: int, max_records: int) -> list[Record]: ...
    def append(self, topic: str, messages: Sequence[Message]) -> object: ...
    def committed(self, group: str, partition: TopicPartition) -> int | None: ...


def first_epoch(epoch: int, partitions: int) -> Epochs:
    """Return the epochs of a topic that has not grown."""
    return (TopicEpoch(epoch, partitions, (0,) * partitions),)


def grown(epochs: Epochs, epoch: int, partitions: int, ends: Sequence[int]) -> Epochs:
    """Return the epochs after a growth to `partitions`; ends: the end offset of each partition there was.

    >>> grown(first_epoch(1, 1), 2, 3, [7])[-1].starts
    (7, 0, 0)
    """
    return (*epochs, TopicEpoch(epoch, partitions, (*ends, *(0 for _ in range(partitions - len(ends))))))


def epoch_at(epochs: Epochs, partition: int, offset: int) -> int:
    """Return the epoch of the record at an offset of a partition.

    >>> both = grown(first_epoch(1, 1), 2, 2, [7])
    >>> epoch_at(both, 0, 6), epoch_at(both, 0, 7), epoch_at(both, 1, 0)
    (1, 2, 2)
    """
    for one in reversed(epochs):
        if partition < one.partitions and offset >= one.starts[partition]:
            return one.epoch
    return epochs[-1].epoch


def partitions_in(epochs: Epochs, epoch: int) -> int | None:
    """Return how many partitions the topic had in `epoch`; None if that is not one of its epochs."""
    return next((one.partitions for one in epochs if one.epoch == epoch), None)


def is_placed(epochs: Epochs, epoch: int, key: bytes, partition: int) -> bool:
    """Return whether a record with `key` belongs into `partition` in `epoch`. Nothing is said against a record of an
    epoch that is not known."""
    count = partitions_in(epochs, epoch)
    return count is None or partition_for(key, count) == partition


def boundary_of(epochs: Epochs, epoch: int) -> dict[int, int]:
    """Return, for each partition that there was before `epoch`, the offset at which it ended; {} for the first epoch.

    >>> boundary_of(grown(first_epoch(1, 2), 2, 4, [7, 9]), 2)
    {0: 7, 1: 9}
    """
    for before, one in pairwise(epochs):
        if one.epoch == epoch:
            return dict(enumerate(one.starts[: before.partitions]))
    return {}


def split(topic: str, partition: int, epochs: Epochs, records: Sequence[Record]) -> Iterator[Batch]:
    """Yield consecutive records of one partition as batches, each of one epoch."""
    if not records:
        return
    first, last = epoch_at(epochs, partition, records[0].offset), epoch_at(epochs, partition, records[-1].offset)
    if first == last:
        yield Batch(topic, partition, first, records)
        return
    cuts = [one.starts[partition] for one in epochs if partition < one.partitions]
    begin = 0
    for cut in cuts:
        end = next((n for n in range(begin, len(records)) if records[n].offset >= cut), len(records))
        if end > begin:
            yield Batch(topic, partition, epoch_at(epochs, partition, records[begin].offset), records[begin:end])
        begin = end
    if begin < len(records):
        yield Batch(topic, partition, last, records[begin:])


class EpochReader(Protocol):
    """What reading a topic from its start takes."""

    def epochs(self, topic: str) -> Epochs: ...
    def start_offset(self, topic: str, partition: int) -> int: ...
    def read(self, topic: str, partition: int, offset: int, max_records: int) -> list[Record]: ...


def read_epochs(log: EpochReader, topic: str, max_records: int = 5_000) -> Iterator[Batch]:
    """Yield a topic's batches, epoch by epoch: a member's records so come in the order in which they were appended."""
    epochs = log.epochs(topic)
    offsets = {partition: log.start_offset(topic, partition) for partition in range(epochs[-1].partitions)}
    for place, one in enumerate(epochs):
        ends = boundary_of(epochs, epochs[place + 1].epoch) if place + 1 < len(epochs) else {}
        for partition in range(one.partitions):
            end = ends.get(partition)
            while end is None or offsets[partition] < end:
                wanted = max_records if end is None else min(max_records, end - offsets[partition])
                records = log.read(topic, partition, offsets[partition], wanted)
                if not records:
                    break
                for batch in split(topic, partition, epochs, records):
                    if batch.epoch == one.epoch:
                        yield batch
                        offsets[partition] = batch.records[-1].offset + 1
                if end is not None and records[-1].offset >= end:
                    break
