"""Filling a hot store from the durable one, after the hot one was lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from streams.stores.protocol import DurableStore, StateEntry, StateStore

BATCH: Final = 1_000
"""States in one write: large enough to pay for a transaction, small enough to let live writes in between."""


def refill(durable: DurableStore, hot: StateStore, kinds: Sequence[str]) -> int:
    """Copy every state of the kinds to the hot store unless it has a newer one; return how many were written.

    May run beside live writes: positions decide. Raises TryAgain when a store is away; running it again goes on.
    """
    return sum(_copy(durable, hot, kind) for kind in kinds)


def _copy(durable: DurableStore, hot: StateStore, kind: str) -> int:
    states = (StateEntry(key, value) for key, value in durable.scan(kind))
    return sum(sum(hot.put(kind, batch)) for batch in _batches(states))


def _batches(entries: Iterable[StateEntry]) -> Iterator[list[StateEntry]]:
    iterator = iter(entries)
    while batch := list(islice(iterator, BATCH)):
        yield batch
