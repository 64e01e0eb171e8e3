"""Which of the warehouse's member events a dataset reads: the newest up to a bound, or those of a manifest's ranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from streams.topics import MEMBER_EVENTS
from streams.warehouse.ranges import Slice, list_files, resolve
from streams.warehouse.reading import read_slices, while_files_change
from streams.warehouse.schemas import schema_of
from training_bridge.dataset import COLUMNS
from training_bridge.dataset_manifest import OffsetRange

_SCHEMA: Final = pa.schema([field for field in schema_of(MEMBER_EVENTS) if field.name in (*COLUMNS, "raw")])


def read_newest(root: Path, max_records: int) -> pa.Table:
    """Return COLUMNS of the newest member events, at most `max_records`; empty for an empty warehouse.

    The newest by the day of their append; of the oldest day that takes part, partition by partition. Raises Corrupt if
    a file is damaged, TryAgain if the files cannot be read.
    """
    return _read(root, lambda slices: newest(slices, max_records))


def read_ranges(root: Path, ranges: Sequence[OffsetRange]) -> pa.Table:
    """Return COLUMNS of at least the member events in `ranges`, where the warehouse still has them. Raises likewise."""
    return _read(root, lambda slices: [some for some in slices if any(_overlap(some, part) for part in ranges)])


def newest(slices: Sequence[Slice], max_records: int) -> list[Slice]:
    """Return the slices of the newest records; of the last only as much of its end as there is room for.

    What is chosen does not depend on how records are spread over files.
    """
    chosen, room = [], max_records
    for some in sorted(slices, key=_age):
        if room <= 0:
            break
        start = max(some.start, some.file.last + 1 - room)
        chosen.append(some._replace(start=start))
        room -= some.file.last + 1 - start
    return chosen


def _age(some: Slice) -> tuple[int, int, int, int]:
    """Return the sort key by which the newest day comes first, and within it the end of each partition."""
    file = some.file
    return -int(file.day.replace("-", "")), file.partition, -file.epoch, -file.last


def _overlap(some: Slice, part: OffsetRange) -> bool:
    file = some.file
    same = (file.partition, file.epoch) == (part.partition, part.epoch)
    return same and some.start <= part.last and part.first <= file.last


def _read(root: Path, choose: Callable[[Sequence[Slice]], list[Slice]]) -> pa.Table:
    def attempt() -> pa.Table:
        return read_slices(choose(resolve(list_files(root, MEMBER_EVENTS))), _SCHEMA)

    table = while_files_change(attempt)
    return table.filter(pc.is_null(table.column("raw"))).select(list(COLUMNS))
