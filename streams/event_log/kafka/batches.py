"""From what an AIOKafkaConsumer fetched to batches with their epochs; for any consumer, also one that Faust made.

    reader = BatchReader(log, topics)
    await reader.begin()             # before the consumer starts to fetch, and again after Fenced
    batches = await reader.batches(await consumer.getmany(...))

Records of a recreated topic are never taken for those of the topic it replaced: the topics' ids are noted before the
first fetch, and compared after each. As ids do not come back, all that was fetched in between is of the same topic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Final, NamedTuple, Protocol

from streams.errors import Fenced
from streams.event_log.epochs import split
from streams.event_log.protocol import Batch, Epochs, Record

_new: Final = tuple.__new__
"""Half the time of a NamedTuple's own constructor."""


class TopicView(NamedTuple):
    """A topic as it is now. topic_id: Kafka's, which no other topic ever has, and the epoch that it began in, which is
    raised where the log has lost records: of a topic with another id, nothing read before counts."""

    topic_id: str
    epochs: Epochs


class EpochSource(Protocol):
    """What a reader needs of the Kafka log."""

    prefix: str

    def view(self, topics: Sequence[str]) -> Future[dict[str, TopicView]]:
        """Look the topics up anew; those that do not exist are left out. The future raises TryAgain."""
        ...


def record_of(_: object, one: Any) -> Record:
    """Return what aiokafka unpacks as ours; a key or value that is null (foreign producers may do that) is empty."""
    return _new(Record, (one.offset, one.timestamp, one.key or b"", one.value or b""))


def unpack_as_records(fetched: Iterable[Any]) -> None:
    """Have aiokafka unpack what it fetched (the values of `Fetcher._records`) as our records, not as its own, which
    take three times as long to make. Where this is left out, `records_of` translates them."""
    for result in fetched:
        unpacking = getattr(result, "_partition_records", None)
        if unpacking is not None:
            unpacking._consumer_record = record_of


def records_of(fetched: Sequence[Any]) -> Sequence[Record]:
    """Return what `getmany` gave of a partition as our records."""
    return fetched if type(fetched[0]) is Record else [record_of(None, one) for one in fetched]


def batches_of(fetched: Mapping[Any, Sequence[Any]], views: Mapping[str, TopicView], prefix: str) -> list[Batch]:
    """Return what `AIOKafkaConsumer.getmany` gave as batches, each of one epoch. prefix: of Kafka's topic names."""
    batches: list[Batch] = []
    for at, records in fetched.items():
        if records:
            topic = at.topic[len(prefix) :]
            batches += split(topic, at.partition, views[topic].epochs, records_of(records))
    return batches


class BatchReader:
    """Turns what one consumer fetches into batches. Its methods may be awaited in any loop, one at a time."""

    def __init__(self, source: EpochSource, topics: Sequence[str]) -> None:
        self._source = source
        self._topics = sorted(set(topics))
        self._views: dict[str, TopicView] = {}

    @property
    def views(self) -> Mapping[str, TopicView]:
        """The topics as last seen."""
        return self._views

    async def begin(self) -> None:
        """Note which topics there are; to be awaited before the consumer starts. Raises TryAgain."""
        found = await asyncio.wrap_future(self._source.view(self._topics))
        self._views = found

    async def begin_with(self, views: Callable[[Sequence[str]], Awaitable[dict[str, TopicView]]]) -> None:
        """The same, in the log's own loop."""
        self._views = await views(self._topics)

    async def batches(self, fetched: Mapping[Any, Sequence[Any]]) -> list[Batch]:
        """Return what `getmany` gave as batches, in its order. Raises Fenced if a topic was recreated since `begin`:
        what was fetched is void, and the consumer must start anew; TryAgain while that cannot be told."""
        prefix = self._source.prefix
        topics = sorted({at.topic[len(prefix) :] for at, records in fetched.items() if records})
        if not topics:
            return []
        found = await asyncio.wrap_future(self._source.view(topics))
        self.check(found, topics)
        return batches_of(fetched, self._views, prefix)

    def check(self, found: Mapping[str, TopicView], topics: Sequence[str]) -> None:
        """Take over what was found of topics. Raises Fenced if one is not the topic that it was."""
        for topic in topics:
            known, now = self._views.get(topic), found.get(topic)
            if known is None or now is None or known.topic_id != now.topic_id:
                raise Fenced(f"{topic} was deleted or recreated: what was read of it is void")
        self._views.update(found)
