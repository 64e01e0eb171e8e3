"""How far consumer groups are behind the log."""

from __future__ import annotations

from collections.abc import Sequence

from streams.event_log.protocol import EventLog, TopicPartition


def lag(log: EventLog, group: str, topics: Sequence[str]) -> int:
    """Return how many records of the topics a group has not committed yet."""
    return sum(
        max(0, log.end_offset(topic, partition) - _next_offset(log, group, TopicPartition(topic, partition)))
        for topic in topics
        for partition in range(log.partition_count(topic))
    )


def records(log: EventLog, topic: str) -> int:
    """Return how many records a topic holds."""
    partitions = range(log.partition_count(topic))
    return sum(log.end_offset(topic, p) - log.start_offset(topic, p) for p in partitions)


def _next_offset(log: EventLog, group: str, place: TopicPartition) -> int:
    committed = log.committed(group, place)
    start = log.start_offset(place.topic, place.partition)
    return start if committed is None else max(committed, start)
