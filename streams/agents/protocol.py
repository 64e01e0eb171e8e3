"""What an agent is: a batch function with a consumer group, and a word on what is durable by now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from streams.errors import TryAgain
from streams.event_log.protocol import Batch, TopicPartition


class NotYet(TryAgain):
    """A batch has to wait until other partitions are further: whoever called puts it back and reads on elsewhere."""


class Agent(Protocol):
    """Consumes batches. A runner (in-process, or a Faust worker) polls, calls and commits; the agent never does.

    name: the consumer group. topics: what it reads.
    """

    name: str
    topics: Sequence[str]

    def process(self, batch: Batch) -> None:
        """Take in one batch. Effects may be held in memory until `flush`. Raises TryAgain when a store is away: the
        runner then calls again with the same batch, after a wait; taking a batch in twice changes nothing. Raises
        NotYet for a batch that other partitions' records come before: it is read again later."""
        ...

    def flush(self, now_ms: int) -> Mapping[TopicPartition, int]:
        """Make due effects durable; return the next offset of each partition up to which everything is, for commit."""
        ...

    def assigned(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Take over partitions; return where to read from for those whose effects are ahead of the commit, or behind it
        because they were lost (or {})."""
        ...

    def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """Drop what is held for partitions that others own now."""
        ...
