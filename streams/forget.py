"""Forgetting a member: states, history, profile, and rows of the warehouse.

What the log itself still holds of the member goes with its retention. States are deleted as of the last message they
include, so a redelivery of older messages does not bring them back; messages that the member sends later do count.
Title states are counts over all members and name none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from streams.errors import TryAgain
from streams.positions import NOTHING
from streams.stores.forgotten import FORGOTTEN, MEMBER_KINDS
from streams.stores.generations import known_names, read_generations
from streams.stores.protocol import DurableStore, StateEntry, StateStore, tombstone
from streams.warehouse.forgetting import forget_rows

ATTEMPTS: Final = 10
"""Times that a state which an agent has just written is deleted; agents write one a few times a second at most."""


class Forgotten(NamedTuple):
    """What was removed. states: in either store; rows: of history and profile; warehouse_rows: of all topics."""

    states: int
    rows: int
    warehouse_rows: int


def forget_member(
    member_id: str, hot: StateStore, durable: DurableStore, warehouse: Path | None = None, floor: int = NOTHING
) -> Forgotten:
    """Remove a member from the stores (states of every generation) and, if its folder is given, the warehouse; return
    what was removed.

    floor: a log position; messages up to it no longer count for the member even if no state includes them yet (give the
    end of the member's partition). An unknown member is nothing to remove. Raises TryAgain when a store is away;
    calling again goes on. An agent must not write the member's state from memory afterwards: it looks for tombstones
    first.
    """
    kinds = known_names(read_generations(durable), MEMBER_KINDS)
    states = sum(_delete_state(kind, member_id.encode(), (hot, durable), floor) for kind in kinds)
    rows = durable.forget(member_id)
    return Forgotten(states, rows, forget_rows(warehouse, member_id) if warehouse else 0)


def _delete_state(kind: str, key: bytes, stores: tuple[StateStore, ...], floor: int) -> int:
    """Put the same tombstone into every store, above whatever each holds; return how many states it replaced.

    A state that an agent writes in between is newer than the tombstone and holds all that is to go: it is deleted, too.
    """
    is_member = kind.partition("@")[0] == "member"
    least = floor if is_member else NOTHING  # other kinds do not carry log positions
    deleted = 0
    for _ in range(ATTEMPTS):
        position = max(least, *(store.positions(kind, [key])[0] for store in stores))
        if position == NOTHING:
            return deleted
        if is_member:
            stores[1].put(FORGOTTEN, [StateEntry(key, tombstone(position) + b"\x01")])
        live = [store.get(kind, [key])[0] is not None for store in stores]
        written = [store.put(kind, [StateEntry(key, tombstone(position))])[0] for store in stores]
        deleted += sum(was and now for was, now in zip(live, written, strict=True))
        if all(store.get(kind, [key])[0] is None for store in stores):
            return deleted
    raise TryAgain(f"a {kind} state was written anew {ATTEMPTS} times while it was deleted")
