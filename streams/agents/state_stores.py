"""Loading states from the hot and the durable store, and writing them to both."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from streams.errors import Corrupt, TryAgain
from streams.features.entity_state import EntityState
from streams.features.view import OtherVersion, View
from streams.positions import NOTHING
from streams.stores.protocol import DurableStore, StateEntry, StateStore, position_of

logger = logging.getLogger(__name__)

Rebuild = Callable[[View, bytes, int], EntityState]
"""(view, key, position) -> the state of an entity whose stored one is damaged, at that position."""


def start_anew(view: View, key: bytes, position: int) -> EntityState:
    """Return an empty state at `position`: what it counted is lost, but nothing is counted twice."""
    state = view.initialize()
    state.position = position
    return state


class StateStores:
    """The two stores as one. Every method raises TryAgain when either is away."""

    def __init__(self, hot: StateStore, durable: DurableStore, rebuild: Rebuild = start_anew) -> None:
        self._hot = hot
        self._durable = durable
        self._rebuild = rebuild

    def load(self, view: View, keys: Sequence[bytes]) -> list[EntityState]:
        """Return states in the order of the keys, of each the store's with the higher position.

        A state that was deleted is empty at the position of its tombstone, so that what it covered stays covered.
        """
        if not keys:
            return []
        values = self._hot.get(view.name, keys)
        positions = [position_of(value) if value else NOTHING for value in values]
        self._look_for_tombstones(view, keys, values, positions)
        newer = [
            place
            for place, position in enumerate(self._durable.positions(view.name, keys))
            if position > positions[place]
        ]
        if newer:
            some = [keys[place] for place in newer]
            found = self._durable.get(view.name, some)
            for place, value, position in zip(newer, found, self._durable.positions(view.name, some), strict=True):
                values[place] = value
                positions[place] = position_of(value) if value else position
        return [self._unpack(view, *entry) for entry in zip(keys, values, positions, strict=True)]

    def _look_for_tombstones(
        self, view: View, keys: Sequence[bytes], values: Sequence[bytes | None], positions: list[int]
    ) -> None:
        """Fill in the positions of deleted states."""
        absent = [place for place, value in enumerate(values) if value is None]
        if absent:
            found = self._hot.positions(view.name, [keys[place] for place in absent])
            for place, position in zip(absent, found, strict=True):
                positions[place] = position

    def _unpack(self, view: View, key: bytes, value: bytes | None, position: int) -> EntityState:
        if value is None:
            return start_anew(view, key, position)
        try:
            return view.unpack(value)
        except OtherVersion as error:
            raise TryAgain(f"{error}: `marquee rebuild` builds states of this code's features", 5.0) from error
        except Corrupt as error:
            logger.warning("a state is rebuilt", extra={"kind": view.name, "key": key.hex(), "error": str(error)})
            return self._rebuild(view, key, position)

    def deleted_at(self, view: View, keys: Sequence[bytes]) -> list[int]:
        """Return for each key the position of the hot store's tombstone, NOTHING where it holds none."""
        deleted_at = [NOTHING] * len(keys)
        absent = [place for place, value in enumerate(self._hot.get(view.name, keys)) if value is None]
        if absent:
            found = self._hot.positions(view.name, [keys[place] for place in absent])
            for place, position in zip(absent, found, strict=True):
                deleted_at[place] = position
        return deleted_at

    def put(self, view: View, entries: Sequence[StateEntry]) -> list[bool]:
        """Write states to the hot store, then the durable one; say of each whether it is now what the hot store holds.

        Where it is not, another owner is ahead, or the state was deleted: what is held in memory is to be dropped.
        """
        if not entries:
            return []
        current = self._hot.put(view.name, entries)
        refused = [place for place, written in enumerate(current) if not written]
        if refused:
            stored = self._hot.get(view.name, [entries[place].key for place in refused])
            for place, value in zip(refused, stored, strict=True):
                current[place] = value == entries[place].value
        self._durable.write(view.name, entries)
        return current
