"""A small warehouse and catalogue in a state folder, written as the sink writes them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from streams.catalogue import publish_titles
from streams.event_log.protocol import Record
from streams.events import Event, encode_event
from streams.settings import Settings
from streams.stores.sql import open_sql
from streams.topics import MEMBER_EVENTS
from streams.warehouse import write_range
from tests.training_bridge.records import APPENDED_MS, made_titles

RECORDS_A_FILE = 100


def publish(settings: Settings, titles: int = 30) -> None:
    """Publish made titles, live before any made record."""
    engine = open_sql(settings)
    publish_titles(engine, made_titles(titles), APPENDED_MS - 100_000)
    engine.dispose()


def store(settings: Settings, rows: Sequence[dict[str, Any]]) -> None:
    """Write placed rows (see records.place) as files of the warehouse."""
    root = settings.path_of(settings.warehouse_url)
    for partition, group in groupby(sorted(rows, key=lambda row: row["partition"]), lambda row: row["partition"]):
        records = [Record(row["offset"], row["timestamp_ms"], row["member_id"].encode(), wire(row)) for row in group]
        for start in range(0, len(records), RECORDS_A_FILE):
            write_range(root, MEMBER_EVENTS, partition, 1, records[start : start + RECORDS_A_FILE])


def wire(row: dict[str, Any]) -> bytes:
    """Return a row's event as a producer writes it."""
    return encode_event(Event(**{name: row[name] for name in Event.__struct_fields__ if name in row}))
