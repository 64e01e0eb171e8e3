"""Replay: the folds over a stretch of the log, in memory; the reference that every other way must equal byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from streams.catalogue import Title
from streams.errors import Undeliverable
from streams.event_log.protocol import Batch, Record
from streams.events import Event
from streams.features.admission import admit_event, admit_impression
from streams.features.member import MEMBER, member_key
from streams.features.title import TITLE, TITLE_SHOWN, shown_event, title_key
from streams.features.view import EntityState, View
from streams.impressions import Impression
from streams.positions import pack_position
from streams.topics import IMPRESSIONS, MEMBER_EVENTS

VIEWS: tuple[View, ...] = (MEMBER, TITLE, TITLE_SHOWN)
"""Every view; a view's name is the kind of its states in the stores."""


@dataclass
class OfflineStates:
    """States by kind and key; `take` folds more of the log in. refused: how many records were undeliverable."""

    catalogue: Mapping[str, Title]
    states: dict[str, dict[bytes, EntityState]] = field(default_factory=lambda: {view.name: {} for view in VIEWS})
    refused: int = 0

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
        return self.fold_event(event, genres, pack_position(epoch, record.offset), partition)

    def fold_event(self, event: Event, genres: tuple[str, ...], position: int, partition: int) -> bool:
        """Fold an admitted event; return whether it was new."""
        if not MEMBER.fold(self._state(MEMBER, member_key(event.member_id)), event, position, genres):
            return False
        if event.item_id:
            TITLE.fold(self._state(TITLE, title_key(event.item_id, partition)), event, position, genres)
        return True

    def take_impression(self, record: Record, epoch: int, partition: int) -> None:
        """Fold one record of `impressions`. Raises Undeliverable."""
        impression = admit_impression(record)
        for item_id in shown_titles(impression):
            state = self._state(TITLE_SHOWN, title_key(item_id, partition))
            TITLE_SHOWN.fold(state, shown_event(impression, item_id), pack_position(epoch, record.offset), ())

    def _state(self, view: View, key: bytes) -> EntityState:
        states = self.states[view.name]
        state = states.get(key)
        if state is None:
            state = states[key] = view.initialize()
        return state

    def member(self, member_id: str) -> EntityState | None:
        """Return a member's state; do not change it."""
        return self.states[MEMBER.name].get(member_key(member_id))

    def packed(self) -> dict[str, dict[bytes, bytes]]:
        """Return the stored form of every state, by kind and key."""
        return {view.name: {key: view.pack(state) for key, state in self.states[view.name].items()} for view in VIEWS}


def shown_titles(impression: Impression) -> list[str]:
    """Return the titles that an impression shows, each once; none for a repeat of an earlier page."""
    if impression.origin_page_id is not None:
        return []
    return list(dict.fromkeys(item.item_id for row in impression.rows for item in row.items))


def replay(batches: Iterable[Batch], catalogue: Mapping[str, Title]) -> OfflineStates:
    """Return the states after `batches`, each partition's in offset order, as agents come to them from any start."""
    states = OfflineStates(catalogue)
    for batch in batches:
        states.take(batch)
    return states
