"""Replay: the folds over a stretch of the log, in memory: the reference that all else must equal byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from streams.catalogue import Title
from streams.errors import Undeliverable
from streams.event_log.epochs import is_placed
from streams.event_log.protocol import Batch, Epochs, Record
from streams.events import Event
from streams.features.admission import admit_event, admit_impression
from streams.features.entity_state import EntityState
from streams.features.member import MEMBER, member_key
from streams.features.title import TITLE, TITLE_SHOWN, shown_event, title_key
from streams.features.view import View
from streams.impressions import Impression
from streams.positions import pack_position
from streams.topics import IMPRESSIONS, MEMBER_EVENTS

VIEWS: tuple[View, ...] = (MEMBER, TITLE, TITLE_SHOWN)
"""Every view; a view's name is the kind of its states in the stores."""


def feature_versions() -> dict[str, str]:
    """Return the version of each view's features, by kind: it changes with anything that shapes the states."""
    return {view.name: f"{view.fingerprint:08x}" for view in VIEWS}


@dataclass
class PartitionStates:
    """The states folded from one partition number, by id. The fold is here, for agents and replays alike."""

    members: dict[str, EntityState] = field(default_factory=dict)
    titles: dict[str, EntityState] = field(default_factory=dict)
    shown: dict[str, EntityState] = field(default_factory=dict)

    def fold_event(self, event: Event, genres: tuple[str, ...], position: int) -> bool:
        """Fold an admitted event; return whether it was new. What the member's state does not take, no title counts."""
        member = self.members.get(event.member_id)
        if member is None:
            member = self.members[event.member_id] = MEMBER.initialize()
        if not _fold_member(member, event, position, genres):
            return False
        item_id = event.item_id
        if item_id:
            title = self.titles.get(item_id)
            if title is None:
                title = self.titles[item_id] = TITLE.initialize()
            _fold_title(title, event, position, genres)
        return True

    def fold_impression(self, impression: Impression, position: int) -> None:
        """Count the titles that an admitted impression shows."""
        for item_id in shown_titles(impression):
            shown = self.shown.get(item_id)
            if shown is None:
                shown = self.shown[item_id] = TITLE_SHOWN.initialize()
            TITLE_SHOWN.fold(shown, shown_event(impression, item_id), position, ())


_fold_member = MEMBER.fold
_fold_title = TITLE.fold


@dataclass
class OfflineStates:
    """The states of a stretch of the log, by partition number; members' in common, since a growth moves them.

    epochs: of `member-events`; a record in a partition that is not its member's counts where it was appended anew.
    Without them none is taken for misplaced. refused: how many records were undeliverable.
    """

    catalogue: Mapping[str, Title]
    epochs: Epochs = ()
    partitions: dict[int, PartitionStates] = field(default_factory=dict)
    members: dict[str, EntityState] = field(default_factory=dict)
    refused: int = 0
    misplaced: int = 0

    def take(self, batch: Batch) -> None:
        """Fold a batch of `member-events` or `impressions`; of other topics nothing."""
        fold = {MEMBER_EVENTS: self.take_event, IMPRESSIONS: self.take_impression}.get(batch.topic)
        if fold is None:
            return
        for record in batch.records:
            try:
                fold(record, batch.epoch, batch.partition)
            except Undeliverable:
                self.refused += 1

    def take_event(self, record: Record, epoch: int, partition: int) -> bool:
        """Fold one record of `member-events`; return whether it was new. Raises Undeliverable."""
        event, genres = admit_event(record, self.catalogue)
        if not is_placed(self.epochs, epoch, member_key(event.member_id), partition):
            self.misplaced += 1
            return False
        return self.partition(partition).fold_event(event, genres, pack_position(epoch, record.offset))

    def take_impression(self, record: Record, epoch: int, partition: int) -> None:
        """Fold one record of `impressions`. Raises Undeliverable."""
        impression = admit_impression(record)
        self.partition(partition).fold_impression(impression, pack_position(epoch, record.offset))

    def partition(self, partition: int) -> PartitionStates:
        """Return the states of a partition number, to fold into."""
        states = self.partitions.get(partition)
        if states is None:
            states = self.partitions[partition] = PartitionStates(members=self.members)
        return states

    def member(self, member_id: str) -> EntityState | None:
        """Return a member's state as it is now; do not change it."""
        return self.members.get(member_id)

    def items(self) -> Iterable[tuple[str, dict[bytes, bytes]]]:
        """Return (kind, packed states by key) of every kind."""
        return self.packed().items()

    def packed(self) -> dict[str, dict[bytes, bytes]]:
        """Return the stored form of every state, by kind and key."""
        packed: dict[str, dict[bytes, bytes]] = {view.name: {} for view in VIEWS}
        for member_id, state in self.members.items():
            packed[MEMBER.name][member_key(member_id)] = MEMBER.pack(state)
        for partition, states in self.partitions.items():
            for view, titles in ((TITLE, states.titles), (TITLE_SHOWN, states.shown)):
                for item_id, state in titles.items():
                    packed[view.name][title_key(item_id, partition)] = view.pack(state)
        return packed


def shown_titles(impression: Impression) -> list[str]:
    """Return the titles that an impression shows, each once; none for a repeat of an earlier page."""
    if impression.origin_page_id is not None:
        return []
    return list(dict.fromkeys(item.item_id for row in impression.rows for item in row.items))


def replay(batches: Iterable[Batch], catalogue: Mapping[str, Title], epochs: Epochs = ()) -> OfflineStates:
    """Return the states after `batches`, each partition's in offset order and those of a topic that has grown epoch by
    epoch (see streams.event_log.epochs.read_epochs), as agents come to them from any start. epochs: see OfflineStates.
    """
    states = OfflineStates(catalogue, epochs)
    for batch in batches:
        states.take(batch)
    return states
