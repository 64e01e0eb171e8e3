"""Files named by the offsets they answer for, and which rows of overlapping ones count.

A range may be stored twice: a sink that lost its partition writes what its successor writes too, and compaction leaves
the small files beside the large one until it has deleted them. Both hold the same records, so any rule that takes each
offset from exactly one file is right; ours takes the file that starts first, and of those the longest.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from streams.errors import TryAgain
from streams.positions import OFFSET_BITS, pack_position

_FILE: Final = re.compile(r"(\d{5})-(\d{20})-(\d{20})\.parquet")
_DAY: Final = re.compile(r"dt=(\d{4}-\d{2}-\d{2})")
_PARTITION: Final = re.compile(r"p=(\d{1,4})")

TEMPORARY_PREFIX: Final = ".writing-"
"""Files being written; readers pass over them, and over anything else not named as a range."""

_DAY_MS: Final = 86_400_000
_EPOCH_DAY: Final = dt.date(1970, 1, 1).toordinal()


class RangeFile(NamedTuple):
    """A file of records `first`..`last` (offsets, both included) of one partition in one epoch, appended on `day`."""

    partition: int
    epoch: int
    first: int
    last: int
    day: str
    path: Path


class Slice(NamedTuple):
    """The part of a file that counts: rows with an offset of `start` or higher."""

    file: RangeFile
    start: int


def day_of(timestamp_ms: int) -> str:
    """Return the UTC day of a time, as in `dt=`; times before 1970 and after 9999 count as the first and last day.

    >>> day_of(0), day_of(86_400_000)
    ('1970-01-01', '1970-01-02')
    """
    ordinal = _EPOCH_DAY + timestamp_ms // _DAY_MS
    return dt.date.fromordinal(min(max(ordinal, _EPOCH_DAY), dt.date.max.toordinal())).isoformat()


def folder_of(root: Path, topic: str, day: str, partition: int) -> Path:
    """Return the folder of a partition's files of one day."""
    return root / topic / f"dt={day}" / f"p={partition}"


def file_name(epoch: int, first: int, last: int) -> str:
    """Return the name of a range's file; names sort as positions do."""
    return f"{epoch:05d}-{first:020d}-{last:020d}.parquet"


def list_files(root: Path, topic: str, day: str | None = None) -> list[RangeFile]:
    """Return a topic's files (of one day, if given), in the order of partition, epoch, first offset, longest first."""
    files = [file for file in _files(root / topic) if day is None or file.day == day]
    return sorted(files, key=lambda file: (file.partition, file.epoch, file.first, -file.last, file.day))


def end_positions(root: Path, topic: str) -> dict[int, int]:
    """Return the log position of the last record stored, by partition; those without files are left out.

    Raises TryAgain when the files cannot be listed.
    """
    ends: dict[int, int] = {}
    try:
        for file in _files(root / topic):
            ends[file.partition] = max(ends.get(file.partition, 0), pack_position(file.epoch, file.last))
    except OSError as error:
        raise TryAgain(f"the warehouse cannot be read: {error}") from error
    return ends


def resolve(files: Iterable[RangeFile]) -> list[Slice]:
    """Return which part of each file to read so that each row is read once; files that others cover are left out.

    Coverage counts within one day of one partition's epoch only: a clock set back over midnight makes the offset ranges
    of two days interlock without a record in common.
    """
    covered: dict[tuple[int, int, str], int] = {}
    slices = []
    for file in sorted(files, key=lambda file: (file.partition, file.epoch, file.first, -file.last)):
        place = (file.partition, file.epoch, file.day)
        start = max(file.first, covered.get(place, -1) + 1)
        if start <= file.last:
            slices.append(Slice(file, start))
            covered[place] = file.last
    return slices


def _files(topic_folder: Path) -> Iterator[RangeFile]:
    for day_folder, day in _named(topic_folder, _DAY):
        for partition_folder, partition in _named(day_folder, _PARTITION):
            for path in _entries(partition_folder):
                file = _parse(path, day, int(partition))
                if file is not None:
                    yield file


def _named(folder: Path, pattern: re.Pattern[str]) -> Iterator[tuple[Path, str]]:
    for path in _entries(folder):
        match = pattern.fullmatch(path.name)
        if match:
            yield path, match[1]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _parse(path: Path, day: str, partition: int) -> RangeFile | None:
    match = _FILE.fullmatch(path.name)
    if match is None:
        return None
    epoch, first, last = (int(group) for group in match.groups())
    if epoch < 1 or not first <= last < 1 << OFFSET_BITS:
        return None
    return RangeFile(partition, epoch, first, last, day, path)
