"""How far a group has folded each partition, as the durable store itself says.

A commit lies in the log, so it outlives the states that it speaks of. A mark lies beside them and is written after
them: a durable store that was lost, or put back from a backup, lacks the mark as it lacks the states.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from streams.agents.lost_log import Known, begin_above
from streams.errors import Fenced
from streams.event_log.epochs import GrowingLog, epoch_at, partitions_in
from streams.event_log.protocol import Epochs, TopicPartition
from streams.positions import NOTHING, unpack_position
from streams.stores.protocol import POSITION_BYTES, DurableStore, StateEntry, position_of, tombstone

KIND: Final = "folded"
"""The kind of the marks: position of the last record folded, a byte that tells it from a tombstone, and the id of the
topic that the record is of."""


class _Mark(NamedTuple):
    position: int
    topic_id: str


class _Topic(NamedTuple):
    """A topic as it was when it was last looked at."""

    topic_id: str
    epochs: Epochs


class FoldedMarks:
    """The marks of one group, of the partitions that it has taken over.

    log: tells the topics' epochs. Every method raises TryAgain when the store is away.
    """

    def __init__(self, group: str, durable: DurableStore, log: GrowingLog) -> None:
        self._group = group
        self._durable = durable
        self._log = log
        self._known: dict[TopicPartition, int] = {}
        self._topics: dict[str, _Topic] = {}

    def take_over(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Take over partitions; return the offset after each one's mark, 0 if that is of a topic since made anew, or
        missing. If the log is not the one that the marks are of, its epoch is raised first."""
        places = list(places)
        for topic in sorted({place.topic for place in places}):
            self._compare(topic)
        marks = self._marks(places)
        self._known.update((place, mark.position) for place, mark in marks.items())
        return self._offsets_after(marks)

    def next_offsets(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offset after each partition's mark, whoever folds it; 0 as above."""
        return self._offsets_after(self._marks(places))

    @property
    def holds_any(self) -> bool:
        """Whether any partition is taken over."""
        return bool(self._known)

    @property
    def by_key(self) -> dict[bytes, int]:
        """The marks of the partitions that are taken over, by their keys."""
        return self.keyed(self._known)

    def keyed(self, positions: Mapping[TopicPartition, int]) -> dict[bytes, int]:
        """Return the positions of partitions that are taken over, by the keys of their marks."""
        return {self._key(place): position for place, position in positions.items() if place in self._known}

    def give_up(self, places: Iterable[TopicPartition]) -> None:
        """Forget partitions that others own now."""
        for place in places:
            self._known.pop(place, None)

    @property
    def known(self) -> Mapping[TopicPartition, int]:
        """The marks of the partitions that are taken over, as they are now."""
        return self._known.copy()

    def check(self, known: Mapping[TopicPartition, int] | None = None) -> None:
        """Raise Fenced if the store holds less than it did: what was folded meanwhile has to be folded again.

        known: what it did hold, by default all that is known now; of a moment ago, it may be given in any thread."""
        known = self._known if known is None else known
        for place, mark in self._stored(known).items():
            if mark < known[place]:
                raise Fenced(f"the durable store was replaced: it lacks records of {place.topic}/{place.partition}")

    def put(self, positions: Mapping[TopicPartition, int]) -> None:
        """Write marks, once all that they cover is in the store. Of a partition that was not taken over, nothing is
        known of what comes before, so it gets none."""
        self.check()
        known = {place: position for place, position in positions.items() if place in self._known}
        if known:
            self._durable.write(KIND, [self._entry(place, known[place]) for place in sorted(known)])
            self._known.update(known)

    def _compare(self, topic: str) -> None:
        """Have the log begin above the group's marks, of whatever partition, if they are of another log."""
        places = [TopicPartition(topic, partition) for partition in range(self._log.epochs(topic)[-1].partitions)]
        marks = [mark for mark in self._marks(places).values() if mark.position != NOTHING]
        begin_above(self._log, topic, (Known(unpack_position(mark.position)[0], mark.topic_id) for mark in marks))

    def _offsets_after(self, marks: Mapping[TopicPartition, _Mark]) -> dict[TopicPartition, int]:
        topics = {topic: self._look(topic) for topic in {place.topic for place in marks}}
        return {
            place: unpack_position(mark.position)[1] + 1
            if mark.topic_id == topics[place.topic].topic_id != ""  # whatever epoch it is said to be of now
            else offset_after(mark.position, topics[place.topic].epochs, place.partition)
            for place, mark in marks.items()
        }

    def _look(self, topic: str) -> _Topic:
        self._topics[topic] = _Topic(self._log.topic_id(topic), self._log.epochs(topic))
        return self._topics[topic]

    def _entry(self, place: TopicPartition, position: int) -> StateEntry:
        """Return a mark; of which topic it is, is said only if that is sure: not of one fed from the warehouse."""
        epoch = unpack_position(position)[0]
        topic = self._topics.get(place.topic) or self._look(place.topic)
        if epoch > topic.epochs[-1].epoch:
            topic = self._look(place.topic)
        topic_id = topic.topic_id if partitions_in(topic.epochs, epoch) is not None else ""
        return StateEntry(self._key(place), tombstone(position) + b"\x01" + topic_id.encode())

    def _marks(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, _Mark]:
        ordered = sorted(places)
        if not ordered:
            return {}
        values = self._durable.get(KIND, list(map(self._key, ordered)))
        return {place: _mark_of(value) for place, value in zip(ordered, values, strict=True)}

    def _stored(self, places: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        ordered = sorted(places)
        if not ordered:
            return {}
        return dict(zip(ordered, self._durable.positions(KIND, list(map(self._key, ordered))), strict=True))

    def _key(self, place: TopicPartition) -> bytes:
        return mark_key(self._group, place)


def mark_key(group: str, place: TopicPartition) -> bytes:
    """Return the key of a group's mark of a partition."""
    return f"{group}/{place.topic}/{place.partition}".encode()


def _mark_of(value: bytes | None) -> _Mark:
    if value is None:
        return _Mark(NOTHING, "")
    return _Mark(position_of(value), value[POSITION_BYTES + 1 :].decode())


def offset_after(position: int, epochs: Epochs, partition: int) -> int:
    """Return the offset after a position of a partition, 0 unless a record of the topic's own can have it.

    >>> from streams.event_log.epochs import first_epoch, grown
    >>> from streams.positions import pack_position
    >>> epochs = grown(first_epoch(3, 1), 4, 2, [10])
    >>> [offset_after(pack_position(*at), epochs, 0) for at in ((3, 9), (4, 12), (2, 9), (3, 12))]
    [10, 13, 0, 0]
    """
    epoch, last = unpack_position(position)
    if position == NOTHING or partitions_in(epochs, epoch) is None or epoch_at(epochs, partition, last) != epoch:
        return 0
    return last + 1
