"""Which generation an agent folds into: taken up with its partitions, left when another one serves."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from streams.agents.generation import follow_generation
from streams.errors import Fenced, TryAgain
from streams.stores.generations import (
    ATTEMPTS,
    KIND,
    Generations,
    ServingGenerations,
    change_generations,
    read_generations,
)
from streams.stores.protocol import StateEntry
from tests.streams.agents.state_stores import MemoryStore

VERSIONS = {"member": "m1", "title": "t1", "title_shown": "s1"}
STATE = StateEntry(b"k", (7).to_bytes(8, "big") + b"state")


def switch(durable: MemoryStore, number: int, **versions: str) -> None:
    def changed(found: Generations) -> Generations:
        return msgspec.structs.replace(found, active={"features": number}, versions={**found.versions, **versions})

    change_generations(durable, changed)


def note(durable: MemoryStore, **versions: str) -> None:
    change_generations(durable, lambda found: msgspec.structs.replace(found, versions={**found.versions, **versions}))


class Contested(MemoryStore):
    """A store whose record of generations others change right after it was read, as often as told."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def get(self, kind: str, keys: Sequence[bytes]) -> list[bytes | None]:
        found = super().get(kind, keys)
        if kind == KIND and self.times:
            left, self.times = self.times - 1, 0
            note(self, **{f"other{left}": "1"})
            self.times = left
        return found


def test_kinds_have_plain_names_until_another_generation_serves() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    stores = follow_generation("features", hot, durable, VERSIONS)
    stores.generation.begin()
    stores.hot.put("member", [STATE])
    assert hot.states["member"] == {STATE.key: STATE.value}
    stores.generation.check()
    switch(durable, 2)
    with pytest.raises(Fenced, match="generation 2 of features serves now, not 1"):
        stores.generation.check()
    stores.generation.begin()
    stores.generation.check()
    assert stores.hot.get("member", [STATE.key]) == [None]
    stores.durable.write("folded", [STATE])
    assert durable.states["folded-features@2"] == {STATE.key: STATE.value}


def test_states_of_other_features_are_waited_for_and_those_of_another_group_are_no_matter() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    features, shown = (follow_generation(group, hot, durable, VERSIONS) for group in ("features", "shown"))
    features.generation.begin()
    switch(durable, 2, member="m2")
    with pytest.raises(TryAgain, match=r"other features \(member m2\)"):
        features.generation.begin()
    shown.generation.begin()
    shown.generation.check()


def test_a_change_is_made_of_the_newest_record_whoever_changes_it_meanwhile() -> None:
    durable = Contested(2)
    written = change_generations(durable, lambda found: msgspec.structs.replace(found, building={"features": 2}))
    assert written == read_generations(durable)
    assert (written.building, written.versions) == ({"features": 2}, {"other0": "1", "other1": "1"})
    assert change_generations(durable, lambda found: found).revision == written.revision


def test_a_change_that_others_always_come_before_is_refused_and_theirs_stand() -> None:
    durable = Contested(ATTEMPTS)
    with pytest.raises(TryAgain, match="at the same time"):
        change_generations(durable, lambda found: msgspec.structs.replace(found, building={"features": 2}))
    assert (read_generations(durable).building, read_generations(durable).revision) == ({}, ATTEMPTS)


def test_agents_that_start_at_once_all_note_their_versions_and_begin() -> None:
    hot, durable = MemoryStore(), Contested(3)
    stores = follow_generation("features", hot, durable, VERSIONS)
    stores.generation.begin()
    stores.generation.check()
    kept = read_generations(durable).versions
    assert kept == {"member": "m1", "title": "t1", "other0": "1", "other1": "1", "other2": "1"}


def test_a_record_that_the_durable_store_lost_comes_back_from_the_hot_one() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    stores = follow_generation("features", hot, durable, VERSIONS)
    switch(durable, 3)
    stores.generation.begin()
    durable.states.clear()
    with pytest.raises(Fenced):
        stores.generation.check()
    stores.generation.begin()
    assert read_generations(durable).serving("features") == 3


def test_who_serves_stays_with_states_that_it_can_read_and_goes_by_the_copy_while_the_record_is_away() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    switch(durable, 2, **VERSIONS)
    serving = ServingGenerations(durable, VERSIONS, copy=hot)
    assert serving.refresh()
    assert serving.names.of["member"] == "member@2"
    assert not serving.refresh()
    switch(durable, 3, title="t2")
    assert not serving.refresh()
    assert serving.names.of["member"] == "member@2"
    assert serving.problem is not None
    hot.states = {kind: dict(states) for kind, states in durable.states.items()}
    durable.away = TryAgain("away")
    started = ServingGenerations(durable, {**VERSIONS, "title": "t2"}, copy=hot)
    assert started.refresh()
    assert started.names.of["title"] == "title@3"
