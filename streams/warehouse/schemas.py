"""The columns of each topic in the warehouse, and how a message becomes a row.

Every row says where in the log it was: `partition`, `epoch`, `offset`, `timestamp_ms` (when it was appended). A message
that does not decode keeps its bytes in `raw` and `raw_key` and has nulls elsewhere: dead letters are bounded and old
ones expire, so the warehouse does not rely on them. In a row that decodes, `raw` is null.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
import pyarrow as pa

from streams import topics
from streams.errors import FixRequest, Undeliverable
from streams.events import decode_event
from streams.impressions import decode_exposure, decode_impression

_PLACE: Final = [
    pa.field("partition", pa.int32(), nullable=False),
    pa.field("epoch", pa.int32(), nullable=False),
    pa.field("offset", pa.int64(), nullable=False),
    pa.field("timestamp_ms", pa.int64(), nullable=False),
]
_RAW: Final = [pa.field("raw", pa.binary()), pa.field("raw_key", pa.binary())]

_EVENT: Final = [
    pa.field("event_id", pa.string()),
    pa.field("type", pa.string()),
    pa.field("member_id", pa.string()),
    pa.field("event_time_ms", pa.int64()),
    pa.field("item_id", pa.string()),
    pa.field("page_id", pa.string()),
    pa.field("row_id", pa.string()),
    pa.field("position", pa.int32()),
    pa.field("value", pa.float64()),
    pa.field("context", pa.string()),
]
"""`context` is a JSON object, null for an empty one."""

_IMPRESSION: Final = [
    pa.field("page_id", pa.string()),
    pa.field("member_id", pa.string()),
    pa.field("served_at_ms", pa.int64()),
    pa.field("step", pa.string()),
    pa.field("rows", pa.string()),
    pa.field("origin_page_id", pa.string()),
    pa.field("degraded", pa.string()),
    pa.field("model_version", pa.string()),
    pa.field("feature_position", pa.int64()),
    pa.field("state", pa.binary()),
    pa.field("title_snapshot", pa.string()),
    pa.field("variants", pa.string()),
    pa.field("request", pa.string()),
    pa.field("page_version", pa.string()),
    pa.field("repeats", pa.string()),
]
"""`rows` (list of ShownRow), `variants`, `request` and `repeats` (list of [page id, served_at_ms], null for none) are
JSON."""

_EXPOSURE: Final = [
    pa.field("experiment", pa.string()),
    pa.field("variant", pa.string()),
    pa.field("member_id", pa.string()),
    pa.field("page_id", pa.string()),
    pa.field("exposed_at_ms", pa.int64()),
    pa.field("first", pa.bool_()),
    pa.field("step", pa.string()),
    pa.field("country", pa.string()),
    pa.field("device", pa.string()),
    pa.field("forced", pa.bool_()),
    pa.field("source", pa.string()),
]
"""Files written before there was a `step` have nulls from there on: see `streams.warehouse.reading.to_exposures`."""

TOPICS: Final = (topics.MEMBER_EVENTS, topics.IMPRESSIONS, topics.EXPOSURES)
"""The topics kept. Dead letters have a log of their own."""

FIELDS: Final[Mapping[str, list[pa.Field]]] = {
    topics.MEMBER_EVENTS: _EVENT,
    topics.IMPRESSIONS: _IMPRESSION,
    topics.EXPOSURES: _EXPOSURE,
}
"""The columns that come from a message, by topic, in the order of the message's fields."""

SCHEMAS: Final[Mapping[str, pa.Schema]] = {
    topic: pa.schema([*_PLACE, *fields, *_RAW]) for topic, fields in FIELDS.items()
}
"""The full schema of each topic's files."""

Row = tuple[Any, ...]

_json = msgspec.json.Encoder(order="deterministic")


def schema_of(topic: str) -> pa.Schema:
    """Return the schema of a topic's files. Raises FixRequest for a topic that the warehouse does not keep."""
    if topic not in SCHEMAS:
        raise FixRequest("topic", f"{topic!r} is not in the warehouse; it keeps {', '.join(TOPICS)}")
    return SCHEMAS[topic]


def row_of(topic: str, raw: bytes) -> Row:
    """Return a message's values in the order of FIELDS[topic]. Raises Undeliverable if it does not decode."""
    return _ROWS[topic](raw)


def _event_row(raw: bytes) -> Row:
    row = msgspec.structs.astuple(decode_event(raw))
    return (*row[:-1], _json_text(row[-1]))


def _impression_row(raw: bytes) -> Row:
    shown = decode_impression(raw)
    values = {name: getattr(shown, name) for name in shown.__struct_fields__}
    values |= {name: _json.encode(values[name]).decode() for name in ("rows", "variants", "request")}
    values["repeats"] = _json.encode(shown.repeats).decode() if shown.repeats else None
    _check_int64(shown.served_at_ms, shown.feature_position)
    return tuple(values[field.name] for field in _IMPRESSION)


def _exposure_row(raw: bytes) -> Row:
    exposure = decode_exposure(raw)
    _check_int64(exposure.exposed_at_ms)
    return msgspec.structs.astuple(exposure)


def _check_int64(*numbers: int) -> None:
    if any(not -(2**63) <= number < 2**63 for number in numbers):
        raise Undeliverable("bad-value", "an integer does not fit 64 bits")


def _json_text(entries: dict[str, str]) -> str | None:
    return _json.encode(entries).decode() if entries else None


_ROWS: Final[Mapping[str, Callable[[bytes], Row]]] = {
    topics.MEMBER_EVENTS: _event_row,
    topics.IMPRESSIONS: _impression_row,
    topics.EXPOSURES: _exposure_row,
}
