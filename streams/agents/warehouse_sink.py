"""The warehouse sink: every record of the kept topics into Parquet, exactly once.

A file's name says which offsets it holds, so the files are the truth about what is stored: the sink reads on after the
highest of them, whatever was committed. Records are held in memory until there are enough of them or the oldest has
waited long enough; what a dying sink held is read again by the next one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from streams import warehouse
from streams.agents.folded_marks import offset_after
from streams.agents.lost_log import Known, RaisableLog, begin_above
from streams.errors import Corrupt, TryAgain
from streams.event_log.epochs import partitions_in
from streams.event_log.protocol import Batch, EventLog, Record, TopicPartition
from streams.positions import NOTHING, unpack_position
from streams.settings import Settings
from streams.warehouse.logs import note_log, noted_logs
from streams.warehouse.ranges import day_of, folder_of

GROUP: Final = "warehouse"

HELD_MAX: Final = 2
"""A partition holds at most this many times `flush_records`; a sink that cannot write takes no more than that."""

COMPACT_FILES: Final = 64
"""A day's folder with this many files is compacted: at a file every 10 s, once in ten minutes."""


@dataclass
class _Held:
    """What is held of one partition. next_offset: of the record to take next. topic_id: as the log says ("" if it does
    not). since_ms: when a flush first saw the oldest, None while there is nothing. day: on which the last record stored
    was appended, "" if not known."""

    epoch: int
    next_offset: int
    topic_id: str = ""
    records: list[Record] = field(default_factory=list)
    since_ms: int | None = None
    day: str = ""


class WarehouseSink:
    """An Agent that writes member events, impressions and exposures to Parquet files below `root`.

    log: the one that is read. A partition is flushed once `flush_records` are held or the
    oldest has waited `flush_s`. Messages that do not decode are kept as raw bytes (see streams.warehouse.schemas).
    """

    name = GROUP
    topics: Sequence[str] = warehouse.TOPICS
    rest_s = 0.1

    def __init__(self, root: Path, log: RaisableLog, flush_records: int, flush_s: float) -> None:
        self._root = root
        self._log = log
        self._flush_records = flush_records
        self._flush_ms = flush_s * 1000
        self._held: dict[TopicPartition, _Held] = {}

    def assigned(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Take over partitions; return for each the offset after the last one stored (0 if none is). If the log is not
        the one that was stored, its epoch is raised first."""
        places = list(partitions)
        for topic in {place.topic for place in places}:
            ends, notes = warehouse.end_positions(self._root, topic), noted_logs(self._root, topic)
            self._compare(topic, ends, notes)
            topic_id, epochs = self._log.topic_id(topic), self._log.epochs(topic)
            for place in places:
                if place.topic == topic:
                    end = ends.get(place.partition, NOTHING)
                    epoch, last = unpack_position(end)
                    same = end != NOTHING and notes.get(epoch) == {topic_id}  # whatever epoch it is said to be of now
                    offset = last + 1 if same else offset_after(end, epochs, place.partition)
                    self._held[place] = _Held(epochs[-1].epoch, offset, topic_id)
        return {place: self._held[place].next_offset for place in places}

    def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """Drop what is held for partitions that others own now; they read it again."""
        for place in partitions:
            self._held.pop(place, None)

    def process(self, batch: Batch) -> None:
        """Hold a batch's records that are neither held nor stored. Raises TryAgain when too many are held already."""
        place = TopicPartition(batch.topic, batch.partition)
        if place not in self._held:
            self.assigned([place])
        held = self._in_epoch(place, batch.epoch)
        new = [record for record in batch.records if record.offset >= held.next_offset]
        if new and len(held.records) >= HELD_MAX * self._flush_records:
            raise TryAgain(f"{len(held.records)} records of {place.topic} wait to be written")
        if new:
            held.records += new
            held.next_offset = new[-1].offset + 1

    def flush(self, now_ms: int) -> Mapping[TopicPartition, int]:
        """Write what is due; return the offset after the last one stored of each partition written."""
        return {place: self._write(place, held) for place, held in self._held.items() if self._is_due(held, now_ms)}

    def close(self) -> None:
        """Write everything held, due or not. What cannot be written now is read again by the next sink."""
        with contextlib.suppress(TryAgain):
            for place, held in self._held.items():
                if held.records:
                    self._write(place, held)
        self._held.clear()

    def _compare(self, topic: str, ends: Mapping[int, int], notes: Mapping[int, set[str]]) -> None:
        """Have the log begin above what is stored, if that is of another log."""
        stored = {unpack_position(end)[0] for end in ends.values()}
        known = [Known(epoch, topic_id) for epoch, ids in notes.items() for topic_id in ids]
        begin_above(self._log, topic, [*known, *(Known(epoch, "") for epoch in stored - notes.keys())])

    def _is_due(self, held: _Held, now_ms: int) -> bool:
        if not held.records:
            return False
        if held.since_ms is None:
            held.since_ms = now_ms
        return len(held.records) >= self._flush_records or now_ms - held.since_ms >= self._flush_ms

    def _in_epoch(self, place: TopicPartition, epoch: int) -> _Held:
        """Return what is held of a partition, having written what is held of the topic's former epoch."""
        held = self._held[place]
        if held.epoch != epoch:
            if held.records:
                self._write(place, held)
            stored = warehouse.end_positions(self._root, place.topic).get(place.partition, NOTHING)
            epochs = self._log.epochs(place.topic)
            known = partitions_in(epochs, epoch) is not None  # else it was made anew this moment
            offset = offset_after(stored, epochs, place.partition) if known else 0
            topic_id = self._log.topic_id(place.topic) if known else ""
            held = self._held[place] = _Held(epoch, offset, topic_id)
        return held

    def _write(self, place: TopicPartition, held: _Held) -> int:
        if held.topic_id:
            note_log(self._root, place.topic, held.epoch, held.topic_id)
        warehouse.write_range(self._root, place.topic, place.partition, held.epoch, held.records)
        days = {day_of(record.timestamp_ms) for record in held.records} | {held.day}
        held.day = day_of(held.records[-1].timestamp_ms)
        held.records, held.since_ms = [], None
        for day in days - {""}:
            self._keep_few(place, day, is_over=day != held.day)
        return held.next_offset

    def _keep_few(self, place: TopicPartition, day: str, is_over: bool) -> None:
        """Compact a day's files once there are many of them, or another day has begun."""
        folder = folder_of(self._root, place.topic, day, place.partition)
        with contextlib.suppress(TryAgain, Corrupt, OSError):  # it is tried again after the next file
            if is_over or sum(1 for _ in folder.iterdir()) >= COMPACT_FILES:
                warehouse.compact(self._root, place.topic, day, place.partition)


def open_sink(settings: Settings, log: EventLog) -> WarehouseSink:
    """Return the sink of the settings' warehouse. Raises FixRequest for an unknown scheme of `warehouse_url`."""
    root = warehouse.root_of(settings)
    return WarehouseSink(root, log, settings.warehouse_flush_records, settings.warehouse_flush_s)
