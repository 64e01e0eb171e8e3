"""How fresh what an agent has stored is: from a record's append to its effects in the durable store."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from typing import NamedTuple

from streams import metrics
from streams.event_log.protocol import Batch, TopicPartition


class _Taken(NamedTuple):
    last_offset: int
    first_ms: int
    last_ms: int


class Freshness:
    """One agent's: told of batches as they are taken in, and of offsets as they become durable.

    The latency is that of each batch's oldest record, so it is what the slowest waited, without a cost for each.
    """

    def __init__(self, agent: str) -> None:
        self._latency = metrics.AGENT_STORED_SECONDS.labels(agent)
        self._newest = metrics.AGENT_NEWEST_STORED.labels(agent)
        self._newest_ms = 0
        self._taken: dict[TopicPartition, deque[_Taken]] = {}

    def taken(self, batch: Batch) -> None:
        """Note a batch whose effects are not durable yet."""
        if batch.records:
            first, last = batch.records[0], batch.records[-1]
            waiting = self._taken.setdefault(TopicPartition(batch.topic, batch.partition), deque())
            waiting.append(_Taken(last.offset, first.timestamp_ms, last.timestamp_ms))

    def stored(self, durable: Mapping[TopicPartition, int], now_ms: int) -> None:
        """Note that the effects of what lies before these offsets are durable."""
        for place, next_offset in durable.items():
            waiting = self._taken.get(place)
            while waiting and waiting[0].last_offset < next_offset:
                batch = waiting.popleft()
                self._latency.observe(max(0, now_ms - batch.first_ms) / 1000)
                self._newest_ms = max(self._newest_ms, batch.last_ms)
                self._newest.set(self._newest_ms / 1000)

    def lost(self, places: Collection[TopicPartition]) -> None:
        """Forget partitions that others own now."""
        for place in places:
            self._taken.pop(place, None)
