"""The records of one topic, in one LMDB environment: a database per partition, keyed by offset.

An append is one write transaction over all partitions, so it is there whole or not at all, whatever kills the process.
Offsets have no gaps but at the front, where retention has been; timestamps never fall within a partition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from streams.errors import Corrupt, FixRequest, SlowDown, TryAgain
from streams.event_log.environments import FULL_RETRY_S, EnvironmentOptions, Handle, OpenEnvironment
from streams.event_log.epochs import first_epoch, grown
from streams.event_log.protocol import Appended, Epochs, Message, Record, TopicEpoch
from streams.event_log.record_codec import (
    pack_message,
    pack_offset,
    timestamp_of,
    unpack_offset,
    unpack_records,
)
from streams.partitioner import partition_for

MAX_MESSAGE_BYTES: Final = 1 << 20
"""Key and value of one message; Kafka's default bound, too."""

MAX_READ_BYTES: Final = 32 << 20
"""One read stops after this many bytes, however many records were asked for."""

RESERVE_SHARE: Final = 16
MIN_RESERVE_BYTES: Final = 128 << 10
"""Appends leave this much of the map free (or 1/RESERVE_SHARE of it, if more): deleting needs pages, too."""

DELETE_CHUNK_RECORDS: Final = 2_000
"""Records deleted in one transaction: appends wait for it, and its dirty pages must fit the reserve."""

MAX_PARTITIONS: Final = 1024

_FLOORS: Final = b"floors"
"""partition -> (offset, timestamp) below which nothing is kept: where an emptied partition goes on. And the epochs of a
topic that has grown, or whose epoch was raised."""

_EPOCHS: Final = b"epochs"
_epochs: Final = msgspec.msgpack.Decoder(tuple[TopicEpoch, ...])
"""Made here, once: msgspec crashes the process where two threads meet a type for the first time at once."""


class Grown(TryAgain):
    """Another process changed the topic's epochs (it has more partitions, say): they are to be read anew."""


class TopicLog:
    """One topic's partitions. Thread-safe; several processes may use the same files.

    epochs: as the caller knows them; if the files say otherwise, every use raises Grown. born: the topic's first epoch.
    """

    def __init__(self, path: Path, epochs: Epochs, *, max_bytes: int, sync: bool) -> None:
        self.epochs = epochs
        self.born = epochs[0].epoch
        self.partitions = epochs[-1].partitions
        self._recorded = _encode(epochs)
        self._names = [b"%d" % partition for partition in range(self.partitions)]
        self._handle = Handle(
            path, EnvironmentOptions(max_bytes, (*self._names, _FLOORS), sync, max_databases=MAX_PARTITIONS + 1)
        )
        self._writable_bytes = max_bytes - max(max_bytes // RESERVE_SHARE, MIN_RESERVE_BYTES)

    def create(self) -> None:
        """Make the files, if they are not there."""
        self._handle.create()

    def exists(self) -> bool:
        """Return whether the files are there."""
        return self._handle.exists()

    def current_epochs(self) -> Epochs:
        """Return the epochs. Raises FilesMissing if the files have gone, and the topic may be in another by now."""
        with self._handle.use() as opened, opened.env.begin() as transaction:
            self._check_known(opened, transaction)
            return self.epochs

    def recorded_epochs(self) -> Epochs:
        """Return the epochs that the files say."""
        with self._handle.use() as opened, opened.env.begin() as transaction:
            recorded = transaction.get(_EPOCHS, db=opened.databases[_FLOORS])
            return self.epochs if recorded is None else _decode(recorded)

    def grow(self, partitions: int, epoch: int) -> None:
        """Begin an epoch with more partitions at the end of each, as one write. Raises Grown if another did so."""
        with self._handle.use() as opened, opened.env.begin(write=True) as transaction:
            self._check_known(opened, transaction)
            ends = [self._end(opened, transaction, partition) for partition in range(self.partitions)]
            recorded = _encode(grown(self.epochs, epoch, partitions, ends))
            transaction.put(_EPOCHS, recorded, db=opened.databases[_FLOORS])

    def begin_anew(self, epoch: int) -> None:
        """Have all records be of one epoch, as one write. Raises Grown if another process changed the epochs."""
        with self._handle.use() as opened, opened.env.begin(write=True) as transaction:
            self._check_known(opened, transaction)
            transaction.put(_EPOCHS, _encode(first_epoch(epoch, self.partitions)), db=opened.databases[_FLOORS])

    def close(self) -> None:
        """Let go of the files."""
        self._handle.close()

    def append(self, messages: Sequence[Message], clock_ms: Callable[[], int]) -> list[Appended]:
        """Append all messages or none; the clock is read once it is this append's turn."""
        partitions = [partition_for(message.key, self.partitions) for message in messages]
        by_partition: dict[int, list[Message]] = {partition: [] for partition in partitions}
        for partition, message in zip(partitions, messages, strict=True):
            if len(message.key) + len(message.value) > MAX_MESSAGE_BYTES:
                raise FixRequest("message", f"key and value may have {MAX_MESSAGE_BYTES} bytes together")
            by_partition[partition].append(message)
        with self._handle.use() as opened, opened.env.begin(write=True) as transaction:
            self._check_known(opened, transaction)
            now_ms = clock_ms()
            following = {
                partition: self._put(opened, transaction, partition, group, now_ms)
                for partition, group in by_partition.items()
            }
            self._check_room(opened, transaction)
        return _places(partitions, following)

    def read(self, partition: int, offset: int, max_records: int) -> list[Record]:
        """Return up to `max_records` records from `offset` on, or from the oldest kept."""
        with self._handle.use() as opened, opened.env.begin() as transaction:
            self._check_known(opened, transaction)
            with transaction.cursor(self._database(opened, partition)) as cursor:
                if not cursor.set_range(pack_offset(max(offset, 0))):
                    return []
                return unpack_records(islice(cursor, max_records), MAX_READ_BYTES)

    def bounds(self, partition: int) -> tuple[int, int]:
        """Return (start, end): the offset of the oldest record kept, and the one that the next record will get."""
        with self._handle.use() as opened, opened.env.begin() as transaction:
            self._check_known(opened, transaction)
            with transaction.cursor(self._database(opened, partition)) as cursor:
                if not cursor.first():
                    floor, _ = self._floor(opened, transaction, partition)
                    return floor, floor
                return unpack_offset(cursor.key()), self._end(opened, transaction, partition)

    def changes(self) -> int:
        """Return a number that grows with each write by any process; much cheaper than a read.

        Whatever is read afterwards includes all writes up to it: it is the number of a snapshot that readers see. (The
        `info` of LMDB tells of a commit a moment before readers see it; who believed it could miss the last write.)
        """
        with self._handle.use() as opened, opened.env.begin() as transaction:
            self._check_known(opened, transaction)
            return int(transaction.id())

    def used_bytes(self) -> int:
        """Return the bytes of the pages that hold records now."""
        with self._handle.use() as opened, opened.env.begin() as transaction:
            return self._used_bytes(opened, transaction)

    def offset_at(self, partition: int, timestamp_ms: int) -> int:
        """Return the offset of the first record appended at or after `timestamp_ms`, the end offset if none was."""
        low, high = self.bounds(partition)
        with self._handle.use() as opened, opened.env.begin() as transaction:
            database = self._database(opened, partition)
            while low < high:
                middle = (low + high) // 2
                stored = transaction.get(pack_offset(middle), db=database)
                if stored is None or timestamp_of(stored) < timestamp_ms:
                    low = middle + 1
                else:
                    high = middle
        return low

    def delete_before(self, partition: int, offset: int) -> int:
        """Delete the records below `offset`; return how many there were. Appends take their turns in between."""
        deleted = 0
        while True:
            with self._handle.use() as opened, opened.env.begin(write=True) as transaction:
                self._check_known(opened, transaction)
                count = self._delete_chunk(opened, transaction, partition, offset)
            deleted += count
            if count < DELETE_CHUNK_RECORDS:
                return deleted

    def reader_check(self) -> None:
        """Drop the marks of readers that died: they keep freed pages from being used again."""
        with self._handle.use() as opened:
            opened.env.reader_check()

    def _check_known(self, opened: OpenEnvironment, transaction: Any) -> None:
        """Raise Grown unless the epochs are those that the files say."""
        recorded = transaction.get(_EPOCHS, db=opened.databases[_FLOORS])
        if recorded is not None and recorded != self._recorded:
            raise Grown(f"{self._handle.path.name} has more partitions by now", 0.0)

    def _end(self, opened: OpenEnvironment, transaction: Any, partition: int) -> int:
        with transaction.cursor(self._database(opened, partition)) as cursor:
            if cursor.last():
                return unpack_offset(cursor.key()) + 1
        return self._floor(opened, transaction, partition)[0]

    def _database(self, opened: OpenEnvironment, partition: int) -> Any:
        if not 0 <= partition < self.partitions:
            raise FixRequest("partition", f"must be 0 to {self.partitions - 1}, not {partition}")
        return opened.databases[self._names[partition]]

    def _put(
        self, opened: OpenEnvironment, transaction: Any, partition: int, messages: list[Message], now_ms: int
    ) -> int:
        """Write messages at the partition's end; return the offset of the first."""
        with transaction.cursor(self._database(opened, partition)) as cursor:
            if cursor.last():
                offset, last_ms = unpack_offset(cursor.key()) + 1, timestamp_of(cursor.value())
            else:
                offset, last_ms = self._floor(opened, transaction, partition)
            stamp_ms = max(now_ms, last_ms)
            items = [(pack_offset(at), pack_message(message, stamp_ms)) for at, message in enumerate(messages, offset)]
            _, added = cursor.putmulti(items, append=True)
        if added != len(items):
            raise Corrupt(f"partition {partition} holds records past its end at {offset}")
        return offset

    def _check_room(self, opened: OpenEnvironment, transaction: Any) -> None:
        """Raise SlowDown, which undoes the append, if it would take pages of the reserve."""
        if self._used_bytes(opened, transaction) > self._writable_bytes:
            raise SlowDown(f"{self._handle.path.name} is full", FULL_RETRY_S)

    def _used_bytes(self, opened: OpenEnvironment, transaction: Any) -> int:
        statistics = [transaction.stat(opened.databases[name]) for name in self._names]
        return sum((s["branch_pages"] + s["leaf_pages"] + s["overflow_pages"]) * s["psize"] for s in statistics)

    def _floor(self, opened: OpenEnvironment, transaction: Any, partition: int) -> tuple[int, int]:
        stored = transaction.get(self._names[partition], db=opened.databases[_FLOORS])
        return (unpack_offset(stored[:8]), unpack_offset(stored[8:])) if stored else (0, 0)

    def _delete_chunk(self, opened: OpenEnvironment, transaction: Any, partition: int, before: int) -> int:
        with transaction.cursor(self._database(opened, partition)) as cursor:
            if not cursor.last():
                return 0
            end = unpack_offset(cursor.key()) + 1
            cursor.first()
            start = unpack_offset(cursor.key())
            floor = min(before, end, start + DELETE_CHUNK_RECORDS)
            if floor <= start:
                return 0
            last = transaction.get(pack_offset(floor - 1), db=self._database(opened, partition))
            for _ in range(start, floor):
                cursor.delete()
        stored_floor = pack_offset(floor) + pack_offset(timestamp_of(last))
        transaction.put(self._names[partition], stored_floor, db=opened.databases[_FLOORS])
        return floor - start


def _encode(epochs: Epochs) -> bytes:
    return msgspec.msgpack.encode(epochs)


def _decode(recorded: bytes) -> Epochs:
    return _epochs.decode(recorded)


def _places(partitions: Sequence[int], following: dict[int, int]) -> list[Appended]:
    """Return where each message went, given its partition and the first offset of each."""
    places = []
    for partition in partitions:
        offset = following[partition]
        following[partition] = offset + 1
        places.append(Appended(partition, offset))
    return places
