"""Reading the warehouse: each record once, whatever files it lies in, while sinks and compaction go on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streams import topics
from streams.errors import Corrupt, FixRequest, TryAgain
from streams.events import Event
from streams.impressions import Exposure
from streams.positions import pack_position
from streams.warehouse.ranges import Slice, list_files, resolve
from streams.warehouse.schemas import schema_of

ATTEMPTS: Final = 10
"""Times that the files are listed anew because compaction took one away; a run of it does so once."""

BATCH_ROWS: Final = 65_536
"""Rows that are read at once where a topic is streamed."""

_ORDER: Final = ("partition", "epoch", "offset")
_EVENT_COLUMNS: Final = tuple(Event.__struct_fields__)

T = TypeVar("T")


class StoredEvent(NamedTuple):
    """An event and where in the log it was. position: see streams.positions. timestamp_ms: when it was appended."""

    partition: int
    position: int
    timestamp_ms: int
    event: Event


def read_topic(root: Path, topic: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a topic's rows, each once, in the order of partition, epoch and offset; empty if there are none.

    columns: those to read, all but `raw` and `raw_key` by default. Messages that do not decode are left out. Raises
    FixRequest for unknown columns, Corrupt if a file is damaged, TryAgain if the files cannot be read.
    """
    known = schema_of(topic).names
    names = [name for name in known if name not in ("raw", "raw_key")] if columns is None else columns
    unknown = set(names) - set(known)
    if unknown:
        raise FixRequest("columns", f"{topic} has no {', '.join(sorted(unknown))}; it has {', '.join(known)}")
    return _read(root, topic, names, well_formed=True)


def iter_tables(root: Path, topic: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield what `read_topic` returns in tables of BATCH_ROWS at most and in no order, so that memory stays bounded.

    Raises FileNotFoundError where compaction has taken a file away meanwhile: begin anew (`while_files_change`).
    """
    schema = pa.schema([field for field in schema_of(topic) if field.name in {*columns, "offset", "raw"}])
    for some in resolve(list_files(root, topic)):
        with _opened(some.file.path) as file:
            names = _found(file, schema)
            for batch in file.iter_batches(BATCH_ROWS, columns=names):
                table = _conform_slice(pa.Table.from_batches([batch]), some, schema)
                yield table.filter(pc.is_null(table.column("raw"))).select(list(columns))


def read_malformed(root: Path, topic: str) -> pa.Table:
    """Return the messages that do not decode: where they were in the log, `raw` and `raw_key`."""
    return _read(root, topic, [*_ORDER, "timestamp_ms", "raw", "raw_key"], well_formed=False)


def iter_events(root: Path) -> Iterator[StoredEvent]:
    """Yield every event in the order of the log: by partition, then position."""
    table = read_topic(root, topics.MEMBER_EVENTS)
    for batch in table.to_batches(max_chunksize=65_536):
        places = (batch.column(name).to_pylist() for name in (*_ORDER, "timestamp_ms"))
        events = to_events(pa.Table.from_batches([batch]))
        for partition, epoch, offset, timestamp_ms, event in zip(*places, events, strict=True):
            yield StoredEvent(partition, pack_position(epoch, offset), timestamp_ms, event)


def to_events(table: pa.Table) -> list[Event]:
    """Return the events in rows of `member-events` (all columns of an event must be there), in their order."""
    columns = {name: table.column(name).to_pylist() for name in _EVENT_COLUMNS}
    decode = msgspec.json.Decoder(dict[str, str]).decode
    columns["context"] = [decode(text) if text else {} for text in columns["context"]]
    return list(map(Event, *(columns[name] for name in _EVENT_COLUMNS)))


def to_exposures(table: pa.Table) -> list[Exposure]:
    """Return the exposures in rows of `exposures`, in their order. What a row of an older file does not say (null) has
    the default of the field."""
    names = [name for name in Exposure.__struct_fields__ if name in table.column_names]
    columns = (table.column(name).to_pylist() for name in names)
    rows = (dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True))
    return [Exposure(**{name: value for name, value in row.items() if value is not None}) for row in rows]


def read_slices(slices: Sequence[Slice], schema: pa.Schema) -> pa.Table:
    """Return the rows of the slices in the schema's columns, raw ones included where the schema has them.

    Raises FileNotFoundError if a file has gone since it was listed, Corrupt if one is damaged.
    """
    return pa.concat_tables([schema.empty_table(), *(_read_slice(some, schema) for some in slices)])


def while_files_change(attempt: Callable[[], T]) -> T:
    """Return what `attempt` returns, calling it again when a file that it listed has gone. Raises TryAgain."""
    for _ in range(ATTEMPTS):
        try:
            return attempt()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise TryAgain(f"the warehouse cannot be read: {error}") from error
    raise TryAgain("the warehouse's files keep changing")


def _read(root: Path, topic: str, names: Sequence[str], *, well_formed: bool) -> pa.Table:
    wanted = {*names, *_ORDER, "raw"}
    schema = pa.schema([field for field in schema_of(topic) if field.name in wanted])

    def attempt() -> pa.Table:
        slices = resolve(list_files(root, topic))
        table = read_slices(slices, schema)
        return table if _in_order(slices) else table.sort_by([(name, "ascending") for name in _ORDER])

    table = while_files_change(attempt)
    keep = pc.is_null(table.column("raw")) if well_formed else pc.is_valid(table.column("raw"))
    return table.filter(keep).select(list(names))


def _in_order(slices: Sequence[Slice]) -> bool:
    """Return whether reading the slices one after another gives the rows in the order of the log."""
    return all(
        (left.file.partition, left.file.epoch, left.file.last) < (right.file.partition, right.file.epoch, right.start)
        for left, right in pairwise(slices)
    )


def _read_slice(some: Slice, schema: pa.Schema) -> pa.Table:
    with _opened(some.file.path) as file:
        table = file.read(_found(file, schema))
    return _conform_slice(table, some, schema)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowInvalid, OSError) as error:
        if getattr(error, "errno", None) is not None:
            raise
        raise Corrupt(f"{path} is damaged: {error}") from error  # Arrow's own errors have no number


def _found(file: pq.ParquetFile, schema: pa.Schema) -> list[str]:
    there = set(file.schema_arrow.names)
    return [name for name in schema.names if name in there]


def _conform_slice(table: pa.Table, some: Slice, schema: pa.Schema) -> pa.Table:
    table = _conform(table, schema)
    if some.start > some.file.first:
        table = table.filter(pc.greater_equal(table.column("offset"), some.start))
    return table


def _conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table in the schema; columns that older files do not have are null."""
    columns: list[Any] = [
        table.column(field.name) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
