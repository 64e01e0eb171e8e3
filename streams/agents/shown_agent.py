"""The shown agent: counts how often titles were shown, from impressions, in both stores, once in effect."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from streams.agents.dead_letters import Rejected
from streams.agents.feature_agent import BUSY_RECORDS, UNWRITTEN_RECORDS, DeadLetterSink
from streams.agents.folded_marks import FoldedMarks
from streams.agents.held_states import HeldStates
from streams.agents.state_stores import StateStores
from streams.errors import Undeliverable
from streams.event_log.protocol import Batch, TopicPartition
from streams.features.admission import admit_impression
from streams.features.replay import PartitionStates, shown_titles
from streams.features.title import TITLE_SHOWN, title_key
from streams.impressions import Impression
from streams.positions import NOTHING, pack_position, unpack_position
from streams.stores.protocol import DurableStore, StateStore
from streams.topics import IMPRESSIONS

GROUP: Final = "shown"

TITLES_HELD: Final = 20_000
"""Title states in memory for each partition; at 1 kB, 20 MB."""


@dataclass
class _Held:
    titles: HeldStates
    fold: PartitionStates
    taken: int = NOTHING
    written: int = NOTHING


class ShownAgent:
    """An Agent over `impressions`. A title's position alone tells what was counted; repeats of a page count nothing.

    epoch_of: a topic's current epoch (`EventLog.epoch`).
    """

    name = GROUP
    topics: Sequence[str] = (IMPRESSIONS,)

    def __init__(
        self,
        hot: StateStore,
        durable: DurableStore,
        dead_letters: DeadLetterSink,
        epoch_of: Callable[[str], int],
        *,
        titles_held: int = TITLES_HELD,
    ) -> None:
        self._marks = FoldedMarks(GROUP, durable, epoch_of)
        self._dead_letters = dead_letters
        self._titles_held = titles_held
        self._stores = StateStores(hot, durable)
        self._partitions: dict[TopicPartition, _Held] = {}
        self._since_flush = 0
        self._unwritten = 0

    def assigned(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Take over partitions, each from where the durable store ends: what it lacks is counted (again)."""
        places = list(partitions)
        self.revoked(places)
        return self._marks.take_over(places)

    def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """Drop what is held for partitions that others own now."""
        places = list(partitions)
        self._marks.give_up(places)
        for place in places:
            self._partitions.pop(place, None)

    def process(self, batch: Batch) -> None:
        """Count a batch in memory; put aside what cannot be read. May be called again with the same batch."""
        if not batch.records:
            return
        if self._unwritten >= UNWRITTEN_RECORDS:
            self.write()
        held = self._hold(TopicPartition(batch.topic, batch.partition))
        shown, rejected = _admit(batch)
        titles = {item_id for impression in shown.values() for item_id in shown_titles(impression)}
        held.titles.load(titles, self._stores)
        for position, impression in shown.items():
            held.fold.fold_impression(impression, position)
        held.titles.touched(titles, min(shown, default=0))
        if rejected:
            self._dead_letters.put_all(batch.topic, batch.partition, rejected, batch.epoch)
        held.taken = max(held.taken, pack_position(batch.epoch, batch.records[-1].offset))
        self._since_flush += len(batch.records)
        self._unwritten += len(batch.records)

    def flush(self, now_ms: int) -> Mapping[TopicPartition, int]:
        """Write what is due to both stores; return the next offset of each partition up to which all is written."""
        busy = self._since_flush >= BUSY_RECORDS
        self._since_flush = 0
        if not busy or self._unwritten >= UNWRITTEN_RECORDS:
            self.write()
        written = ((place, held.written) for place, held in self._partitions.items())
        return {place: unpack_position(position)[1] + 1 for place, position in written if position != NOTHING}

    def write(self) -> None:
        """Write everything to both stores. Raises TryAgain when one is away: calling again goes on; Fenced when the
        durable one has lost what it held."""
        self._marks.check()
        if not self._unwritten:
            return
        for held in self._partitions.values():
            held.titles.write(self._stores)
        self._marks.put({place: held.taken for place, held in self._partitions.items() if held.taken != NOTHING})
        for held in self._partitions.values():
            held.titles.written()
            held.written = held.taken
        self._unwritten = 0

    def close(self) -> None:
        """Write what is held, due or not."""
        self.write()

    def _hold(self, place: TopicPartition) -> _Held:
        held = self._partitions.get(place)
        if held is None:
            titles = HeldStates(TITLE_SHOWN, partial(title_key, partition=place.partition), self._titles_held)
            held = self._partitions[place] = _Held(titles, PartitionStates(shown=titles.states))
        return held


def _admit(batch: Batch) -> tuple[dict[int, Impression], list[Rejected]]:
    """Return the impressions of a batch by position, and what cannot be read."""
    shown: dict[int, Impression] = {}
    rejected: list[Rejected] = []
    for record in batch.records:
        try:
            shown[pack_position(batch.epoch, record.offset)] = admit_impression(record)
        except Undeliverable as error:
            rejected.append(Rejected(record, error.reason, error.detail))
    return shown, rejected
