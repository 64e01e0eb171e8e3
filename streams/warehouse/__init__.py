"""The warehouse: every event, impression and exposure as Hive-partitioned Parquet, each once.

    <root>/<topic>/dt=YYYY-MM-DD/p=<partition>/<epoch>-<first offset>-<last offset>.parquet

`dt` is the UTC day on which the records were appended to the log. A file's name says which offsets it answers for, so
the files themselves are the record of what has been stored: the sink resumes after the highest, and a reader that
meets two files of the same offsets takes each row from one of them.
"""

from streams.warehouse.compaction import compact
from streams.warehouse.ranges import RangeFile, end_positions, list_files
from streams.warehouse.reading import (
    StoredEvent,
    iter_events,
    iter_tables,
    read_malformed,
    read_topic,
    to_events,
    to_exposures,
    while_files_change,
)
from streams.warehouse.root import root_of
from streams.warehouse.schemas import SCHEMAS, TOPICS
from streams.warehouse.writing import write_range

__all__ = [
    "SCHEMAS",
    "TOPICS",
    "RangeFile",
    "StoredEvent",
    "compact",
    "end_positions",
    "iter_events",
    "iter_tables",
    "list_files",
    "read_malformed",
    "read_topic",
    "root_of",
    "to_events",
    "to_exposures",
    "while_files_change",
    "write_range",
]
