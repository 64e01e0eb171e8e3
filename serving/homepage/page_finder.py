"""Finds a page's impression in the log by its page id, without an index.

The page id says when the page was served and in which partition its impression is. Records carry the time of their
append, in order, so a binary search finds the first that can be it, and the impression is among the next few: it is
appended within a second, or, after an outage of the log, before anything that was served later.
"""

from __future__ import annotations

from typing import Final

from serving.homepage.page_id import PageIdParts
from streams.errors import FixRequest, Undeliverable
from streams.event_log.protocol import EventLog
from streams.impressions import Impression, decode_impression, showings_of
from streams.topics import IMPRESSIONS

CHUNK_RECORDS: Final = 256
MAX_SCANNED: Final = 50_000
"""Records looked at before giving up: more than the impression queue holds, and a quarter of a second's work."""

CLOCK_SLACK_MS: Final = 1_000
"""How far the clock may have been set back between two processes or reads of it."""


def find_in_log(log: EventLog, page_id: str, parts: PageIdParts) -> Impression | None:
    """Return a page's impression, None if it is not in the log (any more). Raises TryAgain if that cannot be read.

    In a topic that has grown it may be in another partition than its id says."""
    count = _partitions(log)
    if parts.partition < count and (found := _find_in_partition(log, parts.partition, page_id, parts.served_at_ms)):
        return found
    if not count or len(log.epochs(IMPRESSIONS)) < 2:
        return None
    others = (partition for partition in range(count) if partition != parts.partition)
    found_elsewhere = (_find_in_partition(log, partition, page_id, parts.served_at_ms) for partition in others)
    return next((found for found in found_elsewhere if found is not None), None)


def _find_in_partition(log: EventLog, partition: int, page_id: str, served_at_ms: int) -> Impression | None:
    needle = b'"%b"' % page_id.encode()
    offset = first_since(log, partition, served_at_ms - CLOCK_SLACK_MS)
    for _ in range(MAX_SCANNED // CHUNK_RECORDS):
        records = log.read(IMPRESSIONS, partition, offset, CHUNK_RECORDS)
        for record in records:
            if needle in record.value:
                found = find_in_message(record.value, page_id)
                if found is not None:
                    return found
        if not records:
            return None
        offset = records[-1].offset + 1
    return None


def first_since(log: EventLog, partition: int, time_ms: int) -> int:
    """Return the offset of the first impression appended at `time_ms` or later, the end offset if there is none."""
    low, high = log.start_offset(IMPRESSIONS, partition), log.end_offset(IMPRESSIONS, partition)
    while low < high:
        middle = (low + high) // 2
        records = log.read(IMPRESSIONS, partition, middle, 1)
        if records and records[0].timestamp_ms < time_ms:
            low = max(middle, records[0].offset) + 1
        else:
            high = middle
    return low


def _partitions(log: EventLog) -> int:
    try:
        return log.partition_count(IMPRESSIONS)
    except FixRequest:
        return 0


def find_in_message(value: bytes, page_id: str) -> Impression | None:
    """Return the impression of a page in a message, None if the message is not of that page or cannot be read."""
    try:
        impression = decode_impression(value)
    except Undeliverable:
        return None
    return next((one for one in showings_of(impression) if one.page_id == page_id), None)
