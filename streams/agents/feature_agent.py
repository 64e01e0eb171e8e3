"""The feature agent: folds member events into member and title states, in both stores, once in effect.

Order of writes: titles, then history and profiles, then members, each first hot, then durable; then the marks of how
far the durable store goes (streams.agents.folded_marks), then the commit. A member's state is the witness of what its
events did elsewhere: where its stored position covers an event, the title and the history rows of that event are
stored, too. So on redelivery a covered event needs nothing more, and one that is not covered is judged as it was the
first time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Final, NamedTuple

from streams import metrics
from streams.agents.boundaries import Boundaries
from streams.agents.dead_letters import Rejected
from streams.agents.folded_marks import FoldedMarks
from streams.agents.folding_agent import DeadLetterSink, FoldingAgent, Held
from streams.agents.generation import Generation, OnlyGeneration
from streams.agents.held_states import Changes, HeldStates, drop_deleted, load, publish
from streams.agents.rebuilding import rebuild_from
from streams.agents.refilling import FEATURE_KINDS, HotStoreWatch
from streams.agents.state_stores import StateStores
from streams.catalogue import Catalogue
from streams.errors import Undeliverable
from streams.event_log.epochs import GrowingLog, partitions_in
from streams.event_log.protocol import Batch, Message, Record, TopicPartition
from streams.events import Event
from streams.features.admission import UNKNOWN_TITLE, Admitted, admit_event
from streams.features.member import MEMBER, member_key
from streams.features.replay import PartitionStates
from streams.features.title import TITLE, title_key
from streams.partitioner import partition_for
from streams.positions import pack_position
from streams.stores.protocol import DurableStore, HistoryRow, Profile, StateStore
from streams.topics import MEMBER_EVENTS

GROUP: Final = "features"

MEMBERS_HELD: Final = 2_000
"""Member states in memory for each partition; at 25 kB for a busy member, 50 MB."""

TITLES_HELD: Final = 20_000
"""Title states in memory for each partition; at 2 kB, 40 MB."""


class Placed(NamedTuple):
    """An admitted event and its position."""

    event: Event
    genres: tuple[str, ...]
    position: int


@dataclass
class _Read:
    """What was read of a batch: what may be folded and what not, and, by position, what belongs to other partitions."""

    admitted: list[Placed] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    misplaced: dict[int, Message] = field(default_factory=dict)

    @cached_property
    def members(self) -> set[str]:
        """The members whose states it needs."""
        return {placed.event.member_id for placed in self.admitted}

    @cached_property
    def titles(self) -> set[str]:
        """The titles whose states it needs."""
        return {placed.event.item_id for placed in self.admitted} - {""}


@dataclass(kw_only=True)
class _Held(Held):
    members: HeldStates
    titles: HeldStates
    fold: PartitionStates
    rows: dict[int, HistoryRow] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)


@dataclass
class _Part:
    """What has changed in one partition, with who holds it."""

    held: _Held
    titles: Changes
    members: Changes
    rows: dict[int, HistoryRow]
    profiles: dict[str, Profile]


@dataclass
class _Snapshot:
    """What has changed in all partitions."""

    stores: StateStores
    durable: DurableStore
    parts: Sequence[_Part]

    def write(self) -> None:
        """Titles, then history, then members: a member's state in the durable store is the witness that all are
        stored."""
        for part in self.parts:
            part.titles.write(self.stores)
        for part in self.parts:
            self._write_history(part)
        for part in self.parts:
            keys = [entry.key for entry in part.members.entries]
            part.members.check_not_deleted(self.stores.deleted_at(MEMBER, keys))
            part.members.write(self.stores)

    def written(self) -> None:
        for part in self.parts:
            part.held.titles.written(part.titles)
            part.held.members.written(part.members)

    def _write_history(self, part: _Part) -> None:
        """Write history rows and profiles of the events that no member state in the durable store covers.

        Where one does, another owner has written the rows, or the member was forgotten together with them. A state in
        the hot store says nothing of that: it may have outlived the durable store that the rows were in.
        """
        members = list({row.member_id: None for row in part.rows.values()})
        stored = self.stores.covered(MEMBER, [member_key(member_id) for member_id in members])
        covered = dict(zip(members, stored, strict=True))
        rows = [row for position, row in part.rows.items() if position > covered[row.member_id]]
        self.durable.append_history(rows)
        self.durable.put_profiles([part.profiles[member_id] for member_id in {row.member_id: None for row in rows}])


class FeatureAgent(FoldingAgent[_Held, _Read]):
    """An Agent over `member-events`.

    catalogue_source: returns the newest catalogue; asked again when a title is not in the one at hand. log: the one
    that is folded; a record in a partition that is not its member's is appended to it anew. generation: of the states
    in the stores. clock_ms: Unix time, to know how new the catalogue is.
    """

    name = GROUP
    topics: Sequence[str] = (MEMBER_EVENTS,)
    keys_move = True

    def __init__(
        self,
        catalogue_source: Callable[[], Catalogue],
        hot: StateStore,
        durable: DurableStore,
        dead_letters: DeadLetterSink,
        log: GrowingLog,
        *,
        members_held: int = MEMBERS_HELD,
        titles_held: int = TITLES_HELD,
        watch: HotStoreWatch | None = None,
        generation: Generation | None = None,
        executor: Executor | None = None,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        marks = FoldedMarks(GROUP, durable, log)
        watch = watch or HotStoreWatch(hot, durable, kinds=FEATURE_KINDS)
        super().__init__(marks, dead_letters, Boundaries(marks, log), generation or OnlyGeneration(), watch, executor)
        self._log = log
        self._catalogue_source = catalogue_source
        self._durable = durable
        self._bounds = members_held, titles_held
        self._clock_ms = clock_ms
        self._catalogue: Catalogue | None = None
        self._catalogue_read_ms = 0
        self._stores = StateStores(hot, durable, rebuild_from(durable, self._newest_catalogue))

    def _hold(self, place: TopicPartition) -> _Held:
        members = HeldStates(MEMBER, member_key, self._bounds[0], as_durable=True)
        titles = HeldStates(TITLE, partial(title_key, partition=place.partition), self._bounds[1])
        return _Held(members=members, titles=titles, fold=PartitionStates(members.states, titles.states))

    def _read(self, batch: Batch) -> _Read:
        read = _Read()
        count = partitions_in(self._boundaries.epochs(batch), batch.epoch)
        for record in batch.records:
            position = pack_position(batch.epoch, record.offset)
            try:
                event, genres = self._admit_record(record)
            except Undeliverable as error:
                read.rejected.append(Rejected(record, error.reason, error.detail))
            else:
                key = member_key(event.member_id)
                if count is None or partition_for(key, count) == batch.partition:
                    read.admitted.append(Placed(event, genres, position))
                else:
                    read.misplaced[position] = Message(key, record.value)
        return read

    def _load(self, some: Sequence[tuple[_Held, _Read]]) -> bool:
        members = [(held.members, read.members) for held, read in some]
        profiles = {held.members: held.profiles for held, _ in some}
        for holder, forgotten in drop_deleted(members, self._stores):
            profiles[holder].pop(forgotten, None)
        asked_for_members = load(members, self._stores)
        asked_for_titles = load([(held.titles, read.titles) for held, read in some], self._stores)
        return asked_for_members or asked_for_titles

    def _take_in(self, held: _Held, batch: Batch, read: _Read) -> list[Rejected]:
        if read.misplaced:
            self._forward(held, batch, read.misplaced)
        load([(held.members, read.members)], self._stores)
        load([(held.titles, read.titles)], self._stores)
        behind = _titles_behind(held.fold, read.admitted)
        if behind:
            held.titles.catch_up(behind, self._stores)
        self._fold(held, read)
        return read.rejected

    def _publish(self, holders: Sequence[_Held]) -> None:
        publish([held.titles for held in holders], self._stores, may_be_deleted=False)
        publish([held.members for held in holders], self._stores, may_be_deleted=True)

    def _snapshot(self, holders: Sequence[_Held]) -> _Snapshot:
        return _Snapshot(self._stores, self._durable, [_part(held) for held in holders])

    def _newest_catalogue(self) -> Catalogue:
        if self._catalogue is None:
            self._catalogue_read_ms = self._clock_ms()
            self._catalogue = self._catalogue_source()
        return self._catalogue

    def _forward(self, held: _Held, batch: Batch, misplaced: Mapping[int, Message]) -> None:
        """Append records anew that a producer with another partitioner, or with an old partition count, put into a
        partition that is not their member's: in two at once, a member's events would have no order."""
        committed = self._log.committed(GROUP, TopicPartition(batch.topic, batch.partition)) or 0
        begin = max(held.forwarded + 1, pack_position(batch.epoch, committed))  # what is committed was forwarded before
        new = [message for position, message in misplaced.items() if position >= begin]
        if new:
            self._log.append(batch.topic, new)
            held.forwarded = max(misplaced)
            metrics.FORWARDED.labels(batch.topic).inc(len(new))

    def _admit_record(self, record: Record) -> Admitted:
        catalogue = self._newest_catalogue()
        try:
            return admit_event(record, catalogue)
        except Undeliverable as error:
            if error.reason != UNKNOWN_TITLE or record.timestamp_ms < self._catalogue_read_ms:
                raise  # titles are published before the records that know them, so this catalogue has all of them
        self._catalogue = None
        return admit_event(record, self._newest_catalogue())

    def _fold(self, held: _Held, read: _Read) -> None:
        """Fold a batch whose states are loaded."""
        if not read.admitted:
            return
        fold_event = held.fold.fold_event
        rows = held.rows
        for event, genres, position in read.admitted:
            if fold_event(event, genres, position):
                rows[position] = HistoryRow(
                    event.member_id,
                    position,
                    event.event_time_ms,
                    event.type,
                    event.item_id,
                    event.value,
                    event.page_id,
                )
                _note_profile(held.profiles, event)
        first = read.admitted[0].position
        held.members.touched(read.members, first)
        held.titles.touched(read.titles, first)


def _part(held: _Held) -> _Part:
    """Take what has changed out of what is held."""
    part = _Part(held, held.titles.snapshot(), held.members.snapshot(), held.rows, held.profiles)
    held.rows, held.profiles = {}, {}
    return part


def _titles_behind(states: PartitionStates, admitted: Sequence[Placed]) -> set[str]:
    """Return titles whose states lack events that their members' states cover.

    That is so when the member's state was loaded after another owner had stored both; the title's is there as well.
    """
    return {
        event.item_id
        for event, _, position in admitted
        if event.item_id
        and states.members[event.member_id].position >= position
        and states.titles[event.item_id].position < position
    }


def _note_profile(profiles: dict[str, Profile], event: Event) -> None:
    """Take an event's context into its member's profile; the newest event's wins, as in the store."""
    context = event.context
    country, device = context.get("country", ""), context.get("device", "")
    time_ms = event.event_time_ms
    known = profiles.get(event.member_id)
    if known is None:
        profiles[event.member_id] = Profile(event.member_id, country, device, time_ms, time_ms)
        return
    newer = time_ms >= known.last_seen_ms
    profiles[event.member_id] = Profile(
        event.member_id,
        country if country and (newer or not known.country) else known.country,
        device if device and (newer or not known.device) else known.device,
        min(known.first_seen_ms, time_ms),
        max(known.last_seen_ms, time_ms),
    )
