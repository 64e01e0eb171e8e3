"""Filling a hot store from the durable one, after the hot one was lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from streams.stores.forgotten import FORGOTTEN, MEMBER_KINDS
from streams.stores.protocol import DurableStore, StateEntry, StateStore, tombstone

BATCH: Final = 1_000
"""States in one write: large enough to pay for a transaction, small enough to let live writes in between."""


def refill(durable: DurableStore, hot: StateStore, kinds: Sequence[str]) -> int:
    """Copy every state of the kinds to the hot store unless it has a newer one; return how many were written.

    Members who were forgotten are forgotten in it again: one put back from a copy may still have them. May run beside
    live writes: positions decide. Raises TryAgain when a store is away; running it again goes on.
    """
    for kind in kinds:
        if kind in MEMBER_KINDS:
            _forget(durable, hot, kind)
    return sum(_copy(durable, hot, kind) for kind in kinds)


def _forget(durable: DurableStore, hot: StateStore, kind: str) -> None:
    """Copy the tombstones of members."""
    for batch in _batches(StateEntry(*record) for record in durable.scan(FORGOTTEN)):
        keys = [key for key, _ in batch]
        versions = zip(keys, durable.versions(kind, keys), strict=True)
        hot.put(kind, [StateEntry(key, tombstone(version >> 1)) for key, version in versions if version & 1])


def _copy(durable: DurableStore, hot: StateStore, kind: str) -> int:
    states = (StateEntry(key, value) for key, value in durable.scan(kind))
    return sum(sum(hot.put(kind, batch)) for batch in _batches(states))


def _batches(entries: Iterable[StateEntry]) -> Iterator[list[StateEntry]]:
    iterator = iter(entries)
    while batch := list(islice(iterator, BATCH)):
        yield batch
