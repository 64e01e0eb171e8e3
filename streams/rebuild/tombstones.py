"""The hot store of a generation under construction: a member who was forgotten stays forgotten in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams.features.member import MEMBER
from streams.forget import FORGOTTEN
from streams.positions import NOTHING
from streams.stores.generations import GenerationalStore, Names
from streams.stores.protocol import DurableStore, StateStore


class HotUnderConstruction(GenerationalStore[StateStore]):
    """A hot store in which a member without a state reads as deleted, if they were forgotten before.

    The log still holds the messages of members who were forgotten; they are not folded again. serving: the names of the
    generation that serves.
    """

    def __init__(self, hot: StateStore, durable: DurableStore, names: Names, serving: Mapping[str, str]) -> None:
        super().__init__(hot, names)
        self._durable = durable
        self._serving = serving

    def positions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return the position of each key's state, or that up to which the member was forgotten."""
        found = super().positions(kind, keys)
        absent = [place for place, position in enumerate(found) if position == NOTHING]
        if kind == MEMBER.name and absent:
            some = [keys[place] for place in absent]
            for place, tombstone in zip(absent, self._tombstones(some), strict=True):
                found[place] = tombstone
        return found

    def _tombstones(self, keys: Sequence[bytes]) -> list[int]:
        name = self._serving[MEMBER.name]
        positions = self._durable.positions(name, keys)  # before the states: one written meanwhile is no tombstone
        live = self._durable.get(name, keys)
        forgotten = self._durable.positions(FORGOTTEN, keys)
        return [
            max(position if value is None else NOTHING, since)
            for value, position, since in zip(live, positions, forgotten, strict=True)
        ]
