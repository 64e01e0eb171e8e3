"""Warehouse records of made-up members, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from streams.catalogue import Title
from streams.partitioner import partition_for

GENRES = ("Comedy", "Drama", "Horror")
APPENDED_MS = 1_700_000_000_000
START_MS = 1_600_000_000_000
MINUTE_MS = 60_000


def made_titles(count: int = 30) -> list[Title]:
    """Return titles of one genre each, live long before any record."""
    return [Title(f"t{n}", f"Title {n}", 1990 + n % 30, (GENRES[n % len(GENRES)],)) for n in range(count)]


def made_events(count: int = 400, members: int = 20, titles: int = 30, seed: int = 0) -> list[dict[str, Any]]:
    """Return records in order of arrival, a minute apart, whose members prefer one genre; offsets run by partition."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(count):
        member = int(rng.integers(members))
        taste = member % len(GENRES)
        title = int(rng.integers(titles // len(GENRES))) * len(GENRES) + (taste if rng.random() < 0.8 else 0)
        rows.append(record(f"e{n}", f"m{member}", f"t{title}", START_MS + n * MINUTE_MS))
    return place(rows)


def record(event_id: str, member_id: str, item_id: str, event_time_ms: int, type_: str = "play") -> dict[str, Any]:
    """Return one event, not yet placed in the log."""
    return {
        "event_id": event_id,
        "type": type_,
        "member_id": member_id,
        "item_id": item_id,
        "event_time_ms": event_time_ms,
        "value": None,
        "epoch": 1,
        "timestamp_ms": APPENDED_MS,
    }


def place(rows: Sequence[dict[str, Any]], partitions: int = 4) -> list[dict[str, Any]]:
    """Return the rows with the partition and offset they get when appended in this order."""
    ends = [0] * partitions
    placed = []
    for row in rows:
        partition = partition_for(row["member_id"].encode(), partitions)
        placed.append({**row, "partition": partition, "offset": ends[partition]})
        ends[partition] += 1
    return placed


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Return rows as a table of the columns that datasets read."""
    schema = {"partition": pa.int32(), "epoch": pa.int32(), "offset": pa.int64(), "timestamp_ms": pa.int64()}
    text = {name: pa.string() for name in ("event_id", "type", "member_id", "item_id")}
    return pa.Table.from_pylist(
        list(rows), schema=pa.schema({**schema, **text, "event_time_ms": pa.int64(), "value": pa.float64()})
    )
