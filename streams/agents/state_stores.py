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

    def load(self, view: View, keys: Sequence[bytes], *, as_durable: bool = False) -> list[EntityState]:
        """Return states in the order of the keys, of each the store's with the higher position.

        A state that was deleted is empty at the position of its tombstone, so that what it covered stays covered.
        as_durable: return the durable store's states, unless the hot one knows of a deletion. Where they lag behind,
        the durable store lacks more than the state: what is told from the events between is to be told once more.
        """
        if not keys:
            return []
        values = self._hot.get(view.name, keys)
        positions = [position_of(value) if value else NOTHING for value in values]
        self._look_for_tombstones(view, keys, values, positions)
        other = {
            place: position
            for place, position in enumerate(self._durable.positions(view.name, keys))
            if position > positions[place] or (as_durable and position < positions[place] and values[place] is not None)
        }
        if other:
            found = self._durable.get(view.name, [keys[place] for place in other])
            for (place, position), value in zip(other.items(), found, strict=True):
                values[place] = value
                positions[place] = position_of(value) if value else position  # read first: see _look_for_tombstones
        return [self._unpack(view, *entry) for entry in zip(keys, values, positions, strict=True)]

    def _look_for_tombstones(
        self, view: View, keys: Sequence[bytes], values: Sequence[bytes | None], positions: list[int]
    ) -> None:
        """Fill in the positions of deleted states. One that another owner has written since it was found absent is
        none: taken for one, it would be begun anew at that position, without what it covers."""
        absent = [place for place, value in enumerate(values) if value is None]
        if absent:
            for place, version in zip(absent, self._hot.versions(view.name, [keys[at] for at in absent]), strict=True):
                positions[place] = _deleted_at(version)

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
        """Return for each key the position of its tombstone, NOTHING where there is none; the durable store tells where
        the hot one has nothing, since that may have been lost with its tombstones."""
        versions = self._hot.versions(view.name, keys)
        absent = [place for place, version in enumerate(versions) if not version]
        if absent:
            found = self._durable.versions(view.name, [keys[place] for place in absent])
            for place, version in zip(absent, found, strict=True):
                versions[place] = version
        return list(map(_deleted_at, versions))

    def covered(self, view: View, keys: Sequence[bytes]) -> list[int]:
        """Return for each key up to which position the durable store has all of an entity, or it was deleted."""
        deleted_at = map(_deleted_at, self._hot.versions(view.name, keys))
        return list(map(max, self._durable.positions(view.name, keys), deleted_at))

    def publish(self, view: View, entries: Sequence[StateEntry]) -> dict[int, bytes]:
        """Write states to the hot store only; return, by place, what it holds instead of those of the same position."""
        if not entries:
            return {}
        refused = [place for place, written in enumerate(self._hot.put(view.name, entries)) if not written]
        stored = self._hot.get(view.name, [entries[place].key for place in refused]) if refused else []
        return {
            place: value
            for place, value in zip(refused, stored, strict=True)
            if value is not None
            and value != entries[place].value
            and position_of(value) == position_of(entries[place].value)
        }

    def put(self, view: View, entries: Sequence[StateEntry]) -> list[bool]:
        """Write states to the hot store, then the durable one; say of each whether it is now what the hot store holds.

        Where it is not, another owner is ahead, or the state was deleted: what is held in memory is to be dropped.
        Where the hot store holds another state of the same position (made of events that the log no longer has), the
        durable one gets that.
        """
        if not entries:
            return []
        held = list(entries)
        current = self._hot.put(view.name, entries)
        refused = [place for place, written in enumerate(current) if not written]
        if refused:
            stored = self._hot.get(view.name, [entries[place].key for place in refused])
            for place, value in zip(refused, stored, strict=True):
                current[place] = value == entries[place].value
                if value is not None and position_of(value) == position_of(entries[place].value):
                    held[place] = StateEntry(entries[place].key, value)
        self._durable.write(view.name, held)
        return current


def _deleted_at(version: int) -> int:
    """Return the position of a tombstone from `version_of`, NOTHING of a state and where there is none."""
    return version >> 1 if version & 1 else NOTHING
