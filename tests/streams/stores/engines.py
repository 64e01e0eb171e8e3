"""The engines that the contract suites run over, by name, so that child processes can open them too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from streams.stores.embedded_hot import EmbeddedHotStore
from streams.stores.protocol import POSITION_BYTES, DurableStore, StateEntry, StateStore
from streams.stores.sqlite_durable import SqliteDurableStore

HOT_MAX_BYTES = 256 << 20


def embedded_hot(folder: Path) -> EmbeddedHotStore:
    return EmbeddedHotStore(folder / "hot", HOT_MAX_BYTES)


def sqlite_durable(folder: Path) -> SqliteDurableStore:
    return SqliteDurableStore(folder / "durable.db", write_timeout_ms=10_000)


DURABLE: Mapping[str, Callable[[Path], DurableStore]] = {"sqlite_durable": sqlite_durable}
ENGINES: Mapping[str, Callable[[Path], StateStore]] = {"embedded_hot": embedded_hot, **DURABLE}


def entry(key: bytes, position: int, payload: bytes = b"payload") -> StateEntry:
    """Return a state of `position`; without a payload it is a tombstone."""
    return StateEntry(key, position.to_bytes(POSITION_BYTES, "big") + payload)
