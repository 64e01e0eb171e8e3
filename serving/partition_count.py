"""How many partitions a topic has, as far as is known: asked in the background, so that no page waits for the log."""

from __future__ import annotations

from streams.errors import MarqueeError
from streams.event_log.protocol import EventLog
from streams.partitioner import partition_for


class PartitionCount:
    """The partition count of one topic, which may grow. `assumed` until the log has been asked with success."""

    def __init__(self, log: EventLog, topic: str, assumed: int) -> None:
        self._log = log
        self._topic = topic
        self.current = assumed

    def refresh(self) -> None:
        """Ask the log again; a log that is away leaves the count as it is. Blocks."""
        try:
            self.current = self._log.partition_count(self._topic)
        except MarqueeError:
            return

    def partition_of(self, key: bytes) -> int:
        """Return the partition that a key's messages go to."""
        return partition_for(key, self.current)
