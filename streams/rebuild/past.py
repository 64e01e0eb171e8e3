"""The past of a topic as the warehouse has it: the records of the log that retention has deleted there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from streams.errors import TryAgain
from streams.event_log.protocol import Batch, Record
from streams.events import encode_event
from streams.impressions import Impression, ShownRow, encode_impression
from streams.topics import IMPRESSIONS, MEMBER_EVENTS
from streams.warehouse.ranges import RangeFile, Slice, list_files, resolve
from streams.warehouse.reading import read_slices, to_events, while_files_change
from streams.warehouse.schemas import FIELDS, schema_of

BATCH_RECORDS: Final = 2_000


class Past:
    """What the warehouse below `root` holds of one topic. Every method raises TryAgain if it cannot be read."""

    def __init__(self, root: Path, topic: str) -> None:
        self._root = root
        self._topic = topic

    def ranges(self) -> dict[tuple[int, int], list[tuple[int, int]]]:
        """Return by (epoch, partition) the ranges of offsets that there are, ends included, in order and apart."""
        found: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for file in self._files():
            found.setdefault((file.epoch, file.partition), []).append((file.first, file.last))
        return {place: merged(ranges) for place, ranges in sorted(found.items())}

    def batches(self, epoch: int, partition: int, begin: int, end: int | None = None) -> Iterator[Batch]:
        """Yield the records of a partition's epoch from `begin` on, below `end`, in order.

        Messages that were not well-formed come as they were. Those of members who were forgotten are gone.
        """
        for first, last in self._clusters(epoch, partition, begin, end):
            records = self._records(epoch, partition, max(first, begin), last if end is None else min(last, end - 1))
            for start in range(0, len(records), BATCH_RECORDS):
                yield Batch(self._topic, partition, epoch, records[start : start + BATCH_RECORDS])

    def _files(self) -> list[RangeFile]:
        try:
            return list_files(self._root, self._topic)
        except OSError as error:
            raise TryAgain(f"the warehouse cannot be read: {error}") from error

    def _clusters(self, epoch: int, partition: int, begin: int, end: int | None) -> Iterator[tuple[int, int]]:
        """Yield ranges of offsets that no file crosses, small ones: files of two days may interlock."""
        files = (file for file in self._files() if (file.epoch, file.partition) == (epoch, partition))
        ranges = sorted((file.first, file.last) for file in files)
        cluster: tuple[int, int] | None = None
        for first, last in ranges:
            if last < begin or (end is not None and first >= end):
                continue
            if cluster is not None and first <= cluster[1]:
                cluster = cluster[0], max(cluster[1], last)
                continue
            if cluster is not None:
                yield cluster
            cluster = first, last
        if cluster is not None:
            yield cluster

    def _records(self, epoch: int, partition: int, first: int, last: int) -> list[Record]:
        schema = schema_of(self._topic)

        def attempt() -> pa.Table:
            return read_slices([some for some in resolve(self._files()) if overlaps(some)], schema)

        def overlaps(some: Slice) -> bool:
            file = some.file
            return (file.epoch, file.partition) == (epoch, partition) and file.first <= last and file.last >= first

        table = while_files_change(attempt)
        offsets = table.column("offset")
        return to_records(
            self._topic, table.filter(pc.and_(pc.greater_equal(offsets, first), pc.less_equal(offsets, last)))
        )


_rows = msgspec.json.Decoder(list[ShownRow])
_texts = msgspec.json.Decoder(dict[str, str])
_repeats = msgspec.json.Decoder(list[tuple[str, int]])


def merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges (ends included) put together where they touch or overlap, in order.

    >>> merged([(5, 9), (0, 3), (4, 6), (12, 12)])
    [(0, 9), (12, 12)]
    """
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


def first_missing(ranges: Sequence[tuple[int, int]], begin: int, end: int) -> int | None:
    """Return the first offset of [begin, end) that is in none of the ranges, None if all are there.

    >>> first_missing([(0, 9), (12, 12)], 3, 10), first_missing([(0, 9), (12, 12)], 3, 13)
    (None, 10)
    """
    for first, last in merged(ranges):
        if begin >= end or first > begin:
            break
        begin = max(begin, last + 1)
    return begin if begin < end else None


def _event_values(table: pa.Table) -> list[bytes]:
    return [encode_event(event) for event in to_events(table)]


def _impression_values(table: pa.Table) -> list[bytes]:
    columns = {field.name: table.column(field.name).to_pylist() for field in FIELDS[IMPRESSIONS]}
    columns["rows"] = [_rows.decode(text) for text in columns["rows"]]
    for name in ("variants", "request"):
        columns[name] = [_texts.decode(text) if text else {} for text in columns[name]]
    columns["repeats"] = [_repeats.decode(text) if text else [] for text in columns["repeats"]]
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return [encode_impression(Impression(**row)) for row in rows]


_VALUES: Final[Mapping[str, Callable[[pa.Table], list[bytes]]]] = {
    MEMBER_EVENTS: _event_values,
    IMPRESSIONS: _impression_values,
}


def to_records(topic: str, table: pa.Table) -> list[Record]:
    """Return the messages in rows of a topic (all columns), in the order of their offsets."""
    table = table.sort_by([("offset", "ascending")])
    formed = table.filter(pc.is_null(table.column("raw")))
    malformed = table.filter(pc.is_valid(table.column("raw")))
    keys: list[Any] = [member.encode() for member in formed.column("member_id").to_pylist()]
    records = _zipped(formed, keys, _VALUES[topic](formed))
    if len(malformed):
        raw_keys = [key or b"" for key in malformed.column("raw_key").to_pylist()]
        records = sorted([*records, *_zipped(malformed, raw_keys, malformed.column("raw").to_pylist())])
    return records


def _zipped(table: pa.Table, keys: Sequence[bytes], values: Sequence[bytes]) -> list[Record]:
    offsets, times = (table.column(name).to_pylist() for name in ("offset", "timestamp_ms"))
    return list(map(Record, offsets, times, keys, values))
