"""Compaction: many small files of one day become a few large ones."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from streams.errors import TryAgain
from streams.stores.folder_lock import alone_in
from streams.warehouse.ranges import TEMPORARY_PREFIX, RangeFile, Slice, file_name, list_files, resolve
from streams.warehouse.reading import read_slices
from streams.warehouse.schemas import SCHEMAS
from streams.warehouse.writing import replace_file

TARGET_ROWS: Final = 500_000
"""Files of this many rows are left alone; such a file is read in a few tens of milliseconds a column."""

STALE_S: Final = 3600.0
"""A temporary file untouched for this long was left by a process that died; writing one takes seconds."""


def compact(root: Path, topic: str, day: str, partition: int | None = None, target_rows: int = TARGET_ROWS) -> int:
    """Merge neighbouring files of a day (`YYYY-MM-DD`) that are smaller than `target_rows`; return how many went.

    The large file is in place before the small ones go, and a reader takes each row once all the while. Raises TryAgain
    when the disk is full or another process is rewriting this topic; nothing is lost then.
    """
    if not (root / topic).is_dir():
        return 0
    try:
        with alone_in(root / topic):
            _remove_stale(root / topic / f"dt={day}", time.time() - STALE_S)
            files = [file for file in list_files(root, topic, day) if partition in (None, file.partition)]
            gone = [path for group in _groups(files, target_rows) for path in _merge(topic, files, group)]
            for path in gone:  # all at the end, so that a reader has to list the files anew only once
                path.unlink(missing_ok=True)
            return len(gone)
    except OSError as error:
        raise TryAgain(f"{root / topic} cannot be compacted: {error}") from error


def _groups(files: Sequence[RangeFile], target_rows: int) -> Iterator[list[Slice]]:
    """Yield runs of files of one partition and epoch that follow one another, each of `target_rows` rows at most.

    A gap in the offsets ends a run: a file's name must never claim records that it was not given.
    """
    for _, neighbours in groupby(resolve(files), key=lambda some: (some.file.partition, some.file.epoch)):
        group: list[Slice] = []
        rows = 0
        for some in neighbours:
            count = pq.read_metadata(some.file.path).num_rows
            if group and (some.start != group[-1].file.last + 1 or rows + count > target_rows):
                yield group
                group, rows = [], 0
            group.append(some)
            rows += count
        if group:
            yield group


def _merge(topic: str, files: Sequence[RangeFile], group: Sequence[Slice]) -> set[Path]:
    """Write the rows of a group into one file; return the files that are not needed beside it any more."""
    epoch, first, last = group[0].file.epoch, group[0].start, group[-1].file.last
    here = [file for file in files if (file.partition, file.epoch) == (group[0].file.partition, epoch)]
    replaced = {some.file.path for some in group} | {
        file.path for file in here if first <= file.first and file.last <= last
    }
    merged = group[0].file.path
    if len(group) > 1:
        merged = merged.with_name(file_name(epoch, first, last))
        replace_file(merged, read_slices(group, SCHEMAS[topic]))
    return replaced - {merged}


def _remove_stale(day_folder: Path, before_s: float) -> None:
    for path in day_folder.glob(f"p=*/{TEMPORARY_PREFIX}*"):
        try:
            if path.stat().st_mtime < before_s:
                path.unlink()
        except FileNotFoundError:
            continue  # its writer was alive after all
