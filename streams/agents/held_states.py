"""The states that an agent holds in memory for one view and partition, between the stores and the folds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from streams.agents.state_stores import StateStores
from streams.errors import Fenced
from streams.features.entity_state import EntityState
from streams.features.view import View
from streams.positions import NOTHING
from streams.stores.protocol import StateEntry


@dataclass
class Changes:
    """Changed states at some moment. begun_at: where those began that had been deleted before.

    is_current: of each, whether the hot store has it since it was written; empty before.
    """

    view: View
    names: Sequence[str]
    entries: Sequence[StateEntry]
    positions: Sequence[int]
    begun_at: dict[str, int]
    is_current: list[bool] = field(default_factory=list)

    def check_not_deleted(self, deleted_at: Sequence[int]) -> None:
        """Raise Fenced if a state was deleted after it was loaded, as of before its last change: it cannot tell what it
        still may hold from the rest. deleted_at: of each, from `StateStores.deleted_at`."""
        for name, own, position in zip(self.names, self.positions, deleted_at, strict=True):
            if position != NOTHING and self.begun_at.get(name) != position < own:
                raise Fenced(f"a {self.view.name} state was deleted while it was changed")

    def write(self, stores: StateStores) -> None:
        """Write the states to both stores."""
        self.is_current = stores.put(self.view, self.entries)


class HeldStates:
    """Unpacked states by id. `states` is folded into from outside; `touched` says what may have changed.

    key_of: the store's key of an id. bound: how many states stay in memory once all are written; the least recently
    changed ones go first. as_durable: states begin as the durable store has them (`StateStores.load`).
    """

    def __init__(self, view: View, key_of: Callable[[str], bytes], bound: int, *, as_durable: bool = False) -> None:
        self.states: dict[str, EntityState] = {}
        self.view = view
        self.key_of = key_of
        self._bound = bound
        self.as_durable = as_durable
        self._changed: set[str] = set()
        self._unpublished: set[str] = set()
        self._packed: dict[str, StateEntry] = {}
        """Of published states that are not in a snapshot yet."""
        self._begun_at: dict[str, int] = {}
        """Where a state began that was deleted before, as long as it is not written."""

    def hold(self, name: str, state: EntityState) -> None:
        """Hold a state that was loaded."""
        self.states[name] = state
        if state.position != NOTHING and state.watermark_ms == 0:
            self._begun_at[name] = state.position

    def catch_up(self, ids: Iterable[str], stores: StateStores) -> None:
        """Load held states anew where a store is ahead of them."""
        names = sorted(ids)
        for name, stored in zip(names, stores.load(self.view, [self.key_of(name) for name in names]), strict=True):
            if stored.position > self.states[name].position:
                self.states[name] = stored

    def touched(self, ids: Iterable[str], since: int) -> None:
        """Take note that the states of `ids` with a position of `since` or higher have changed."""
        states = self.states
        names = [name for name in ids if states[name].position >= since]
        self._changed.update(names)
        self._unpublished.update(names)
        if self._packed:
            for name in names:
                self._packed.pop(name, None)

    def unpublished(self) -> Changes:
        """Return what has changed since the last call of `published` or `snapshot`."""
        changes = self._changes(sorted(self._unpublished))
        self._packed.update(zip(changes.names, changes.entries, strict=True))
        return changes

    def published(self, instead: dict[str, bytes]) -> None:
        """Take note that everything is in the hot store, or another state instead of one of the same position, which
        was made of events that the log no longer has: that one counts."""
        self._unpublished.clear()
        for name, value in instead.items():
            self.states[name] = self.view.unpack(value)
            self._packed.pop(name, None)

    def snapshot(self) -> Changes:
        """Return what has changed since the last snapshot."""
        changes = self._changes(sorted(self._changed))
        self._changed.clear()
        self._unpublished.clear()
        self._packed.clear()
        return changes

    def written(self, changes: Changes) -> None:
        """Take note that the last snapshot is in both stores. Let go of what another owner is ahead of, unless it has
        changed again, and of what is over the bound."""
        for name, current in zip(changes.names, changes.is_current, strict=True):
            self._begun_at.pop(name, None)
            if not current and name not in self._changed and name in self.states:
                self.drop(name)
        if len(self.states) > self._bound:
            settled = sorted(self.states.keys() - self._changed, key=lambda name: self.states[name].position)
            for name in settled[: len(self.states) - self._bound * 3 // 4]:
                self.drop(name)

    def drop(self, name: str) -> None:
        """Let go of a state, changed or not."""
        del self.states[name]
        self._changed.discard(name)
        self._unpublished.discard(name)
        self._packed.pop(name, None)
        self._begun_at.pop(name, None)

    def _changes(self, names: Sequence[str]) -> Changes:
        entries = [
            self._packed.get(name) or StateEntry(self.key_of(name), self.view.pack(self.states[name])) for name in names
        ]
        positions = [self.states[name].position for name in names]
        begun_at = {name: self._begun_at[name] for name in names if name in self._begun_at}
        return Changes(self.view, names, entries, positions, begun_at)


def publish(all_held: Sequence[HeldStates], stores: StateStores, *, may_be_deleted: bool) -> None:
    """Put what has changed in states of one view into the hot store, in one go for all partitions.

    Raises Fenced if a state was deleted meanwhile, unless those of the view never are.
    """
    parts = [(held, held.unpublished()) for held in all_held]
    entries = [entry for _, changes in parts for entry in changes.entries]
    if not entries:
        return
    view = parts[0][1].view
    deleted_at = (
        stores.deleted_at(view, [entry.key for entry in entries]) if may_be_deleted else [NOTHING] * len(entries)
    )
    begins = [0, *accumulate(len(changes.entries) for _, changes in parts)]
    for (_, changes), begin, end in zip(parts, begins, begins[1:], strict=False):
        changes.check_not_deleted(deleted_at[begin:end])
    instead = stores.publish(view, entries)
    for (held, changes), begin, end in zip(parts, begins, begins[1:], strict=False):
        held.published({changes.names[at - begin]: instead[at] for at in range(begin, end) if at in instead})


Wanted = Sequence[tuple[HeldStates, Collection[str]]]
"""Ids by who is to hold their states: one view's, of several partitions."""


def load(wanted: Wanted, stores: StateStores) -> bool:
    """Load the states that are wanted and not held, in one go for all partitions; return whether there were any."""
    missing = list(dict.fromkeys((held, name) for held, ids in wanted for name in ids if name not in held.states))
    if not missing:
        return False
    some = missing[0][0]
    loaded = stores.load(some.view, [held.key_of(name) for held, name in missing], as_durable=some.as_durable)
    for (held, name), state in zip(missing, loaded, strict=True):
        held.hold(name, state)
    return True


def drop_deleted(wanted: Wanted, stores: StateStores) -> list[tuple[HeldStates, str]]:
    """Drop held states that were deleted from the stores as of their own position or a later one, in one go for all
    partitions; return which. An event to come must not bring them back."""
    present = list(dict.fromkeys((held, name) for held, ids in wanted for name in ids if name in held.states))
    if not present:
        return []
    deleted_at = stores.deleted_at(present[0][0].view, [held.key_of(name) for held, name in present])
    gone = [
        (held, name)
        for (held, name), position in zip(present, deleted_at, strict=True)
        if position >= held.states[name].position
    ]
    for held, name in gone:
        held.drop(name)
    return gone
