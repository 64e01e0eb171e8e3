"""The shown agent: counts how often titles were shown, from impressions, in both stores, once in effect."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Final

from streams.agents.boundaries import Boundaries
from streams.agents.dead_letters import Rejected
from streams.agents.folded_marks import FoldedMarks
from streams.agents.folding_agent import DeadLetterSink, FoldingAgent, Held
from streams.agents.generation import Generation, OnlyGeneration
from streams.agents.held_states import Changes, HeldStates, load, publish
from streams.agents.refilling import SHOWN_KINDS, HotStoreWatch
from streams.agents.state_stores import StateStores
from streams.errors import Undeliverable
from streams.event_log.epochs import GrowingLog
from streams.event_log.protocol import Batch, TopicPartition
from streams.features.admission import admit_impression
from streams.features.replay import PartitionStates, shown_titles
from streams.features.title import TITLE_SHOWN, title_key
from streams.impressions import Impression
from streams.positions import pack_position
from streams.stores.protocol import DurableStore, StateStore
from streams.topics import IMPRESSIONS

GROUP: Final = "shown"

TITLES_HELD: Final = 20_000
"""Title states in memory for each partition; at 1 kB, 20 MB."""


@dataclass
class _Read:
    """What was read of a batch: impressions by position, and what cannot be."""

    shown: dict[int, Impression] = field(default_factory=dict)
    rejected: list[Rejected] = field(default_factory=list)

    @cached_property
    def titles(self) -> set[str]:
        """The titles that are counted."""
        return {item_id for impression in self.shown.values() for item_id in shown_titles(impression)}


@dataclass(kw_only=True)
class _Held(Held):
    titles: HeldStates
    fold: PartitionStates


@dataclass
class _Snapshot:
    """Counts that have changed, with who holds them."""

    stores: StateStores
    parts: Sequence[tuple[HeldStates, Changes]]

    def write(self) -> None:
        for _, changes in self.parts:
            changes.write(self.stores)

    def written(self) -> None:
        for titles, changes in self.parts:
            titles.written(changes)


class ShownAgent(FoldingAgent[_Held, _Read]):
    """An Agent over `impressions`. A title's position alone tells what was counted; repeats of a page count nothing.

    log: the one that is folded. Titles are counted by partition, so it does not matter to them how it grows.
    """

    name = GROUP
    topics: Sequence[str] = (IMPRESSIONS,)

    def __init__(
        self,
        hot: StateStore,
        durable: DurableStore,
        dead_letters: DeadLetterSink,
        log: GrowingLog,
        *,
        titles_held: int = TITLES_HELD,
        watch: HotStoreWatch | None = None,
        generation: Generation | None = None,
        executor: Executor | None = None,
    ) -> None:
        marks = FoldedMarks(GROUP, durable, log)
        watch = watch or HotStoreWatch(hot, durable, kinds=SHOWN_KINDS)
        super().__init__(marks, dead_letters, Boundaries(marks, log), generation or OnlyGeneration(), watch, executor)
        self._titles_held = titles_held
        self._stores = StateStores(hot, durable)

    def _hold(self, place: TopicPartition) -> _Held:
        titles = HeldStates(TITLE_SHOWN, partial(title_key, partition=place.partition), self._titles_held)
        return _Held(titles=titles, fold=PartitionStates(shown=titles.states))

    def _read(self, batch: Batch) -> _Read:
        read = _Read()
        for record in batch.records:
            try:
                read.shown[pack_position(batch.epoch, record.offset)] = admit_impression(record)
            except Undeliverable as error:
                read.rejected.append(Rejected(record, error.reason, error.detail))
        return read

    def _load(self, some: Sequence[tuple[_Held, _Read]]) -> bool:
        return load([(held.titles, read.titles) for held, read in some], self._stores)

    def _take_in(self, held: _Held, batch: Batch, read: _Read) -> list[Rejected]:
        self._load([(held, read)])
        for position, impression in read.shown.items():
            held.fold.fold_impression(impression, position)
        held.titles.touched(read.titles, min(read.shown, default=0))
        return read.rejected

    def _publish(self, holders: Sequence[_Held]) -> None:
        publish([held.titles for held in holders], self._stores, may_be_deleted=False)

    def _snapshot(self, holders: Sequence[_Held]) -> _Snapshot:
        return _Snapshot(self._stores, [(held.titles, held.titles.snapshot()) for held in holders])
