"""Writing a range of records as Parquet files: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from streams.errors import TryAgain, Undeliverable
from streams.event_log.protocol import Record
from streams.warehouse.ranges import TEMPORARY_PREFIX, day_of, file_name, folder_of
from streams.warehouse.schemas import FIELDS, row_of, schema_of

COMPRESSION: Final = "zstd"


def write_range(root: Path, topic: str, partition: int, epoch: int, records: Sequence[Record]) -> list[Path]:
    """Store consecutive records; return the files, one for each run of records appended on the same UTC day.

    Writing the same records again replaces the files by equal ones. Raises TryAgain when the disk is full or away; what
    was written by then stays and is not written twice.
    """
    return [
        replace_file(
            folder_of(root, topic, day, partition) / file_name(epoch, run[0].offset, run[-1].offset),
            to_table(topic, partition, epoch, run),
        )
        for day, run in _runs_by_day(records)
    ]


def to_table(topic: str, partition: int, epoch: int, records: Sequence[Record]) -> pa.Table:
    """Return records as rows of the topic's schema, with the bytes of those that do not decode."""
    schema = schema_of(topic)
    nothing = (None,) * len(FIELDS[topic])
    rows = []
    for record in records:
        place = (partition, epoch, record.offset, record.timestamp_ms)
        try:
            rows.append((*place, *row_of(topic, record.value), None, None))
        except Undeliverable:
            rows.append((*place, *nothing, record.value, record.key))
    columns: Any = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.table([list(column) for column in columns], schema=schema)


def replace_file(path: Path, table: pa.Table) -> Path:
    """Write a table at `path`, replacing what is there in one step and for good. Raises TryAgain."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=TEMPORARY_PREFIX)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                pq.write_table(table, file, compression=COMPRESSION)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise TryAgain(f"{path} cannot be written: {error}") from error
    return path


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _runs_by_day(records: Sequence[Record]) -> Iterator[tuple[str, list[Record]]]:
    for day, run in groupby(records, key=lambda record: day_of(record.timestamp_ms)):
        yield day, list(run)
