"""The hot store of a generation under construction: a member who was forgotten stays forgotten in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams.features.member import MEMBER
from streams.positions import NOTHING
from streams.stores.forgotten import FORGOTTEN
from streams.stores.generations import GenerationalStore, Names
from streams.stores.protocol import DurableStore, StateEntry, StateStore, tombstone, version_of


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

    def versions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return `version_of` each key's state, or that of the tombstone of a member who was forgotten."""
        found = super().versions(kind, keys)
        absent = [place for place, version in enumerate(found) if not version]
        if kind == MEMBER.name and absent:
            forgotten = zip(absent, self._forgotten_at([keys[place] for place in absent]), strict=True)
            gone = {place: tombstone(position) for place, position in forgotten if position != NOTHING}
            found = [version_of(gone[place]) if place in gone else version for place, version in enumerate(found)]
            tombstones = [StateEntry(keys[place], value) for place, value in gone.items()]
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
