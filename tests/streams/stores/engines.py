"""The engines that the contract suites run over, by name, so that child processes can open them too.

Each opens the store of a place: a folder, or the URL of a server with a prefix or keyspace of the test's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from streams.stores.embedded_hot import EmbeddedHotStore
from streams.stores.protocol import POSITION_BYTES, DurableStore, StateEntry, StateStore
from streams.stores.redis.address import parse_address
from streams.stores.sqlite_durable import SqliteDurableStore

if TYPE_CHECKING:
    from streams.stores.redis.hot_store import RedisHotStore

HOT_MAX_BYTES = 256 << 20


def embedded_hot(folder: str | Path) -> EmbeddedHotStore:
    return EmbeddedHotStore(Path(folder) / "hot", HOT_MAX_BYTES)


def sqlite_durable(folder: str | Path) -> SqliteDurableStore:
    return SqliteDurableStore(Path(folder) / "durable.db", write_timeout_ms=10_000)


def redis_hot(url: str) -> RedisHotStore:
    from streams.stores.redis.hot_store import RedisHotStore  # a child process imports the engine that it opens

    return RedisHotStore(parse_address(url), timeout_s=5.0, connections=16)


def cassandra(place: str) -> DurableStore:
    from tests.streams.stores.cassandra_places import open_namespace

    return open_namespace(place)


DURABLE: Mapping[str, Callable[[str], DurableStore]] = {"sqlite_durable": sqlite_durable, "cassandra": cassandra}
ENGINES: Mapping[str, Callable[[str], StateStore]] = {
    "embedded_hot": embedded_hot,
    "redis": redis_hot,
    "redis_cluster": redis_hot,
    **DURABLE,
}


def entry(key: bytes, position: int, payload: bytes = b"payload") -> StateEntry:
    """Return a state of `position`; without a payload it is a tombstone."""
    return StateEntry(key, position.to_bytes(POSITION_BYTES, "big") + payload)
