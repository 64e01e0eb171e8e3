"""The states that an agent holds in memory for one view and partition, between the stores and the folds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from streams.agents.state_stores import StateStores
from streams.errors import Fenced
from streams.features.entity_state import EntityState
from streams.features.view import View
from streams.positions import NOTHING
from streams.stores.protocol import StateEntry


class HeldStates:
    """Unpacked states by id. `states` is folded into from outside; `touched` says what may have changed.

    key_of: the store's key of an id. bound: how many states stay in memory once all are written; the least recently
    changed ones go first. as_durable: states begin as the durable store has them (`StateStores.load`).
    """

    def __init__(self, view: View, key_of: Callable[[str], bytes], bound: int, *, as_durable: bool = False) -> None:
        self.states: dict[str, EntityState] = {}
        self._view = view
        self._key_of = key_of
        self._bound = bound
        self._as_durable = as_durable
        self._changed: set[str] = set()
        self._begun_at: dict[str, int] = {}
        """Where a state began that was deleted before, as long as it is not written."""

    def load(self, ids: Collection[str], stores: StateStores) -> None:
        """Load the states of `ids` that are not held."""
        missing = [name for name in ids if name not in self.states]
        keys = [self._key_of(name) for name in missing]
        loaded = stores.load(self._view, keys, as_durable=self._as_durable)
        self.states.update(zip(missing, loaded, strict=True))
        self._begun_at.update(
            (name, state.position)
            for name, state in zip(missing, loaded, strict=True)
            if state.position != NOTHING and state.watermark_ms == 0
        )

    def catch_up(self, ids: Iterable[str], stores: StateStores) -> None:
        """Load held states anew where a store is ahead of them."""
        names = sorted(ids)
        for name, stored in zip(names, stores.load(self._view, [self._key_of(name) for name in names]), strict=True):
            if stored.position > self.states[name].position:
                self.states[name] = stored

    def drop_deleted(self, ids: Collection[str], stores: StateStores) -> list[str]:
        """Drop held states of `ids` that were deleted from the stores as of their own position or a later one; return
        which. An event to come must not bring them back."""
        names = [name for name in ids if name in self.states]
        deleted_at = stores.deleted_at(self._view, list(map(self._key_of, names)))
        gone = [
            name for name, position in zip(names, deleted_at, strict=True) if position >= self.states[name].position
        ]
        for name in gone:
            del self.states[name]
            self._changed.discard(name)
        return gone

    def check_not_deleted(self, stores: StateStores) -> None:
        """Raise Fenced if a changed state was deleted after it was loaded, as of before its last change: it cannot tell
        what it still may hold from the rest."""
        names = sorted(self._changed)
        deleted_at = stores.deleted_at(self._view, list(map(self._key_of, names)))
        for name, position in zip(names, deleted_at, strict=True):
            if position != NOTHING and self._begun_at.get(name) != position < self.states[name].position:
                raise Fenced(f"a {self._view.name} state was deleted while it was changed")

    def touched(self, ids: Iterable[str], since: int) -> None:
        """Take note that the states of `ids` with a position of `since` or higher have changed."""
        states = self.states
        self._changed.update(name for name in ids if states[name].position >= since)

    def write(self, stores: StateStores) -> None:
        """Write what has changed to both stores, and drop what another owner is ahead of."""
        names = sorted(self._changed)
        entries = [StateEntry(self._key_of(name), self._view.pack(self.states[name])) for name in names]
        for name, current in zip(names, stores.put(self._view, entries), strict=True):
            if not current:
                del self.states[name]
                self._changed.discard(name)

    def written(self) -> None:
        """Take note that everything is in both stores; let go of what is over the bound."""
        self._changed.clear()
        self._begun_at.clear()
        if len(self.states) > self._bound:
            oldest_first = sorted(self.states, key=lambda name: self.states[name].position)
            for name in oldest_first[: len(self.states) - self._bound * 3 // 4]:
                del self.states[name]
