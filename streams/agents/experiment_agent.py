"""The experiment agent: counts what members do who were exposed, into aggregates, once in effect.

Events are only notices: outcomes are taken from the members' durable history, where each event stands once, so a record
of `member-events` is taken in after the feature agent has stored it (docs/adr/0014). Members, aggregates and the
position are written in one SQL transaction: what a crash cuts off was not counted, and an owner who was overtaken is
fenced by the position.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import msgspec
import sqlalchemy as sa

from streams import metrics
from streams.agents.boundaries import holds_more
from streams.agents.dead_letters import Rejected
from streams.agents.experiment_settling import MEMBERS_AT_ONCE, Settling
from streams.agents.feature_agent import GROUP as FEATURES
from streams.agents.folded_marks import FoldedMarks, offset_after
from streams.agents.folding_agent import DeadLetterSink
from streams.agents.lost_log import Known, begin_above
from streams.agents.protocol import NotYet
from streams.errors import Corrupt, TryAgain, Undeliverable
from streams.event_log.epochs import GrowingLog
from streams.event_log.protocol import Batch, Record, TopicPartition
from streams.events import is_valid_id
from streams.experiments.aggregates import Counted
from streams.experiments.definition import Experiment
from streams.experiments.following import FollowedExperiments, is_counted
from streams.experiments.merging import counted_of, first_of, history_from_ms
from streams.experiments.outcome_store import Counting, MemberRow, OutcomeStore
from streams.experiments.outcomes import HISTORY_ROWS, FirstExposure
from streams.impressions import Exposure, decode_exposure
from streams.partitioner import partition_for
from streams.positions import pack_position, unpack_position
from streams.stores.generations import GenerationalDurableStore, Names, names_for_agent, read_generations
from streams.stores.protocol import DurableStore, HistoryRow
from streams.topics import EXPOSURES, MEMBER_EVENTS

GROUP: Final = "experiments"

NOTED_MS: Final = 1_000
"""How often it is noted how far partitions were read in which nothing was to be counted."""

FEW_ROWS: Final = 256
MORE: Final = 6
"""A member's newest rows are read first, then so many times as many, until they reach far enough back."""

WAIT_S: Final = 0.1
REPAIR_S: Final = 5.0
"""How soon a row that could not be read is read again: somebody puts a backup back, or the newer version."""


@dataclass
class _Held:
    """How far a partition was taken in, how far that is noted in the database, and how far it was at the take-over,
    perhaps of a log that was lost since."""

    taken: int
    counted: int
    begun: int


class _Wait(NamedTuple):
    """Exposures up to an offset wait until members' histories have the events of some partitions below their `ends`."""

    exposure: int
    ends: Mapping[TopicPartition, int]


class CountedLog(GrowingLog, Protocol):
    """What the agent needs of the log."""

    def end_offset(self, topic: str, partition: int) -> int:
        """Return the offset that the next record of a partition gets."""
        ...


class _Notice(msgspec.Struct):
    """Of an event, whom it is about and when it was; the feature agent reads the rest."""

    member_id: str
    event_time_ms: int = 0


_notice: Final = msgspec.json.Decoder(_Notice)

Seen = dict[str, dict[str, list[FirstExposure]]]
"""Exposures by member and experiment; a member of whom there was only an event has none."""


class ExperimentAgent:
    """An Agent over `exposures` and `member-events`.

    durable: where the feature agent writes histories, of whatever generation. log: the one that is read.
    """

    name = GROUP
    topics: Sequence[str] = (EXPOSURES, MEMBER_EVENTS)
    rest_s = 0.25

    def __init__(self, engine: sa.Engine, durable: DurableStore, log: CountedLog, dead_letters: DeadLetterSink) -> None:
        self._store = OutcomeStore(engine, GROUP)
        self._followed = FollowedExperiments(engine)
        self._durable = durable
        self._log = log
        self._dead_letters = dead_letters
        self._held: dict[TopicPartition, _Held] = {}
        self._marks: dict[int, FoldedMarks] = {}
        """The feature agent's, by the generation that serves."""
        self._settling = Settling(self._store, self._history)
        self._noted_ms = 0
        self._waits_for: dict[TopicPartition, _Wait] = {}

    def assigned(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Take over partitions, each from where the database says that it is counted. A log that was lost since, and is
        behind the epochs that were counted, has its epoch raised first: what it holds would be taken for counted."""
        positions = {place: self._store.position(place) for place in partitions}
        for topic in sorted({place.topic for place in positions}):
            counted = (unpack_position(position)[0] for place, position in positions.items() if place.topic == topic)
            begin_above(self._log, topic, [Known(epoch, "") for epoch in counted])
        begins: dict[TopicPartition, int] = {}
        for place, position in positions.items():
            self._held[place] = _Held(position, position, position)
            begins[place] = offset_after(position, self._log.epochs(place.topic), place.partition)
        return begins

    def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """Drop what is held for partitions that others own now."""
        for place in partitions:
            self._held.pop(place, None)
            self._waits_for.pop(place, None)

    def process(self, batch: Batch) -> None:
        """Count what a batch tells of members. Raises NotYet for events that the feature agent has not stored yet."""
        with _until_repaired():
            self._process(batch)

    def _process(self, batch: Batch) -> None:
        place = TopicPartition(batch.topic, batch.partition)
        if place not in self._held:
            self.assigned([place])
        experiments = self._followed.refresh()
        self._settling.go_on(experiments)
        held = self._held[place]
        due = [record for record in batch.records if pack_position(batch.epoch, record.offset) > held.taken]
        if not due:
            return
        told_ms = due[0].timestamp_ms
        counted = {name: experiment for name, experiment in experiments.items() if is_counted(experiment, told_ms)}
        if not counted:
            held.taken = pack_position(batch.epoch, due[-1].offset)
            return
        ready = self._stored(place, due)
        for records in _slices(ready, MEMBERS_AT_ONCE):
            self._take(place, batch.epoch, records, counted)
        if len(ready) < len(due):
            raise NotYet(f"{place.topic}/{place.partition}: members' histories do not go as far yet", WAIT_S)

    def flush(self, now_ms: int) -> Mapping[TopicPartition, int]:
        """Note, now and then, how far partitions were read; return the next offset of each that is counted."""
        if now_ms - self._noted_ms >= NOTED_MS:
            self._note()
            with _until_repaired():
                self._settling.go_on(self._followed.refresh())
            self._noted_ms = now_ms
        return {
            place: unpack_position(held.counted)[1] + 1
            for place, held in self._held.items()
            if held.counted != held.begun
        }

    def close(self) -> None:
        """Note how far partitions were read."""
        self._note()

    def _note(self) -> None:
        behind = {place: held for place, held in self._held.items() if held.taken != held.counted}
        if not behind:
            return
        with self._store.counting() as counting:
            for place, held in sorted(behind.items()):
                counting.advance(place, held.counted, held.taken)
        for held in behind.values():
            held.counted = held.taken

    def _take(
        self, place: TopicPartition, epoch: int, records: Sequence[Record], experiments: Mapping[str, Experiment]
    ) -> None:
        """Count some records; where no experiment could be concerned, that they were read is noted later."""
        held, position = self._held[place], pack_position(epoch, records[-1].offset)
        seen, newest_ms = self._read(place, epoch, records, experiments)
        if seen and experiments:
            with self._store.counting() as counting:
                # others may have settled what was stopped since: who counts after that must know of the stop
                now = self._followed.read(counting.connection)
                self._count(counting, place, seen, {name: now[name] for name in experiments if name in now})
                counting.advance(place, held.counted, position)
                counting.note_newest(place.partition, newest_ms)
            held.counted = position
        held.taken = position

    def _read(
        self, place: TopicPartition, epoch: int, records: Sequence[Record], experiments: Mapping[str, Experiment]
    ) -> tuple[Seen, int]:
        """Return whom records are about, and the newest time in them."""
        if place.topic == MEMBER_EVENTS:
            notices = list(_notices(records))
            newest_ms = max((time_ms for _, time_ms in notices), default=0)
            return {member_id: {} for member_id, _ in notices}, newest_ms
        seen: Seen = {}
        rejected: list[Rejected] = []
        newest_ms = 0
        for record in records:
            try:
                exposure = decode_exposure(record.value)
            except Undeliverable as error:
                rejected.append(Rejected(record, error.reason, error.detail))
                continue
            if exposure.experiment in experiments and not exposure.forced:
                newest_ms = max(newest_ms, min(exposure.exposed_at_ms, record.timestamp_ms))
                _add(seen, exposure, pack_position(epoch, record.offset))
        if rejected:
            self._dead_letters.put_all(place.topic, place.partition, rejected, epoch)
        return seen, newest_ms

    def _count(
        self, counting: Counting, place: TopicPartition, seen: Seen, experiments: Mapping[str, Experiment]
    ) -> None:
        stored = counting.members(seen, experiments)
        for member_id, exposures in seen.items():
            concerned = {name for name in experiments if name in exposures or (name, member_id) in stored}
            found: dict[str, Counted] = {}
            for name in concerned:
                row = stored.get((name, member_id))
                first = first_of(experiments[name], row.counted if row else None, exposures.get(name, ()))
                if first is not None:
                    found[name] = first
            if not found:
                continue
            history = self._history(member_id, [(experiments[name], each.first) for name, each in found.items()])
            for name, first in found.items():
                row = stored.get((name, member_id))
                partition = row.partition if row else place.partition
                new = MemberRow(name, member_id, partition, counted_of(experiments[name], first, history))
                if new != row:
                    counting.replace(experiments[name].definition, row, new)
            metrics.EXPERIMENT_OUTCOMES.inc(len(found))

    def _history(self, member_id: str, firsts: Sequence[tuple[Experiment, FirstExposure]]) -> list[HistoryRow]:
        """Return a member's newest rows, as far back as any of the experiments asks for."""
        from_ms = min(history_from_ms(experiment, first) for experiment, first in firsts)
        limit = FEW_ROWS
        while True:
            rows = self._durable.history(member_id, limit)
            if len(rows) < limit or rows[-1].event_time_ms < from_ms or limit == HISTORY_ROWS:
                return rows
            limit = min(limit * MORE, HISTORY_ROWS)

    def _stored(self, place: TopicPartition, due: Sequence[Record]) -> Sequence[Record]:
        """Return those records for which histories go far enough: of events, they have these; of exposures, they have
        all events that were in the log when the exposures were first seen here, of which nobody may be told again."""
        marks = self._folded()
        if place.topic == MEMBER_EVENTS:
            stored_to = marks.next_offsets([place])[place]
            return [record for record in due if record.offset < stored_to]
        waits_for = self._waits_for.get(place)
        if waits_for is None or waits_for.exposure < due[0].offset:
            waits_for = self._waits_for[place] = _Wait(due[-1].offset, self._ends_of_events(due))
        stored = marks.next_offsets(waits_for.ends)
        if any(holds_more(self._log, at, stored[at], end) for at, end in waits_for.ends.items()):
            return []
        return [record for record in due if record.offset <= waits_for.exposure]

    def _ends_of_events(self, exposures: Sequence[Record]) -> Mapping[TopicPartition, int]:
        """Return where the partitions end in which there may be events of those exposed: not those of the exposures'
        number where the topics have not as many, and of events that have grown, those of each epoch."""
        keys, counts = {record.key for record in exposures}, {one.partitions for one in self._log.epochs(MEMBER_EVENTS)}
        partitions = sorted({partition_for(key, count) for key in keys for count in counts})
        return {
            TopicPartition(MEMBER_EVENTS, number): self._log.end_offset(MEMBER_EVENTS, number) for number in partitions
        }

    def _folded(self) -> FoldedMarks:
        """Return the marks of how far members' histories go, those of the generation that serves."""
        number = read_generations(self._durable).serving(FEATURES)
        if number not in self._marks:
            durable = GenerationalDurableStore(self._durable, Names(names_for_agent(FEATURES, number)))
            self._marks = {number: FoldedMarks(FEATURES, durable, self._log)}
        return self._marks[number]


@contextmanager
def _until_repaired() -> Iterator[None]:
    """Have the caller wait while a row cannot be read: to pass it over would be a wrong result, and to end would be to
    end all agents of the process with it."""
    try:
        yield
    except Corrupt as error:
        raise TryAgain(str(error), REPAIR_S) from error


def _slices(records: Sequence[Record], most: int) -> Iterator[Sequence[Record]]:
    """Yield records in order, in slices of up to so many different keys (members)."""
    begin, keys = 0, set[bytes]()
    for number, record in enumerate(records):
        if record.key not in keys and len(keys) == most:
            yield records[begin:number]
            begin, keys = number, set()
        keys.add(record.key)
    if begin < len(records):
        yield records[begin:]


def _notices(records: Iterable[Record]) -> Iterator[tuple[str, int]]:
    """Yield whom events are about and when they happened, no later than they were appended; one that cannot be read is
    the feature agent's to put aside."""
    for record in records:
        try:
            notice = _notice.decode(record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if is_valid_id(notice.member_id):
            yield notice.member_id, max(0, min(notice.event_time_ms, record.timestamp_ms))


def _add(seen: Seen, exposure: Exposure, position: int) -> None:
    of_member = seen.setdefault(exposure.member_id, {})
    of_member.setdefault(exposure.experiment, []).append(FirstExposure.of(exposure, position))
