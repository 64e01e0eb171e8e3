"""The hot store of a generation under construction: a member who was forgotten stays forgotten in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams.features.member import MEMBER
from streams.positions import NOTHING
from streams.stores.forgotten import FORGOTTEN
from streams.stores.generations import GenerationalStore, Names
from streams.stores.protocol import DurableStore, StateEntry, StateStore, tombstone


class HotUnderConstruction(GenerationalStore[StateStore]):
    """A hot store that knows who was forgotten: a member without a state in it gets their tombstone, in both stores.

    The log still holds the messages of members who were forgotten; they are not folded again. durable: the store below
    all generations; serving: the names of the one that serves.
    """

    def __init__(self, hot: StateStore, durable: DurableStore, names: Names, serving: Mapping[str, str]) -> None:
        super().__init__(hot, names)
        self._all = durable
        self._own = GenerationalStore(durable, names)
        self._serving = serving

    def positions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return the position of each key's state, or that up to which the member was forgotten."""
        found = super().positions(kind, keys)
        absent = [place for place, position in enumerate(found) if position == NOTHING]
        if kind == MEMBER.name and absent:
            some = [keys[place] for place in absent]
            for place, position in zip(absent, self._forgotten_at(some), strict=True):
                found[place] = position
            tombstones = [StateEntry(keys[place], tombstone(found[place])) for place in absent if found[place]]
            super().put(kind, tombstones)
            self._own.put(kind, tombstones)
        return found

    def _forgotten_at(self, keys: Sequence[bytes]) -> list[int]:
        name = self._serving[MEMBER.name]
        positions = self._all.positions(name, keys)  # before the states: one written meanwhile is no tombstone
        live = self._all.get(name, keys)
        since = self._all.positions(FORGOTTEN, keys)
        return [
            max(position if value is None else NOTHING, forgotten)
            for value, position, forgotten in zip(live, positions, since, strict=True)
        ]
