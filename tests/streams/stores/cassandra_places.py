"""Places for tests on a shared Cassandra: a keyspace of a test module's own, and namespaces in it.

A keyspace takes a second to make and another to drop; a namespace, for kinds and member ids, takes nothing. Truncating
would take a second for each table, and deleting would hide what the next test writes at lower positions.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from cassandra.query import tuple_factory

from streams.settings import Settings
from streams.stores.cassandra.address import parse_address
from streams.stores.cassandra.migrating import SCHEMA
from streams.stores.cassandra.store import CassandraDurableStore
from streams.stores.protocol import DurableStore, HistoryRow, Profile, StateEntry

ALL = 1_000_000
PATIENT_S = 20.0


@contextmanager
def own_keyspace(url: str) -> Iterator[str]:
    """Yield the URL of a keyspace that is not there yet; drop it afterwards."""
    keyspace = f"test_{uuid.uuid4().hex[:16]}"
    place = f"{url.rstrip('/')}/{keyspace}"
    yield place
    if place in _open:
        _open.pop(place).close()
    with driver_session(url) as session:
        session.execute(f"DROP KEYSPACE IF EXISTS {keyspace}")


@contextmanager
def driver_session(url: str) -> Iterator[Any]:
    """Yield a session of the driver alone."""
    nodes = parse_address(url).nodes
    with Cluster(nodes, port=nodes[0][1], protocol_version=5) as cluster:
        session = cluster.connect()
        session.default_timeout = PATIENT_S
        yield session


@contextmanager
def schema_session(url: str) -> Iterator[Any]:
    """Yield a session as a Migrator needs it."""
    nodes = parse_address(url).nodes
    profile = ExecutionProfile(request_timeout=PATIENT_S, row_factory=tuple_factory)
    profiles = {SCHEMA: profile, EXEC_PROFILE_DEFAULT: profile}
    with Cluster(nodes, port=nodes[0][1], protocol_version=5, execution_profiles=profiles) as cluster:
        yield cluster.connect()


def patient(url: str) -> CassandraDurableStore:
    """Return a store that waits long enough for a busy machine."""
    return CassandraDurableStore(Settings(durable_url=url, cassandra_timeout_s=PATIENT_S))


_open: dict[str, CassandraDurableStore] = {}
"""One store for all namespaces of a keyspace in this process."""


def open_namespace(place: str) -> DurableStore:
    """Return the store of `<url>#<namespace>`."""
    url, _, namespace = place.partition("#")
    if url not in _open:
        _open[url] = patient(url)
    return _Namespace(_open[url], namespace)


class _Namespace:
    """A DurableStore in which nothing is of other namespaces."""

    def __init__(self, store: DurableStore, namespace: str) -> None:
        self._store = store
        self._namespace = namespace
        self._prefix = f"{namespace}:"

    def get(self, kind: str, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._store.get(self._kind(kind), keys)

    def positions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        return self._store.positions(self._kind(kind), keys)

    def versions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        return self._store.versions(self._kind(kind), keys)

    def put(self, kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        return self._store.put(self._kind(kind), entries)

    def write(self, kind: str, entries: Sequence[StateEntry]) -> None:
        self._store.write(self._kind(kind), entries)

    def scan(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        return self._store.scan(self._kind(kind))

    def drop(self, kind: str, limit: int) -> int:
        return self._store.drop(self._kind(kind), limit)

    def append_history(self, rows: Sequence[HistoryRow]) -> None:
        self._store.append_history(
            [msgspec.structs.replace(row, member_id=self._prefix + row.member_id) for row in rows]
        )

    def history(self, member_id: str, limit: int) -> list[HistoryRow]:
        rows = self._store.history(self._prefix + member_id, limit)
        return [msgspec.structs.replace(row, member_id=member_id) for row in rows]

    def put_profiles(self, profiles: Sequence[Profile]) -> None:
        self._store.put_profiles(
            [msgspec.structs.replace(profile, member_id=self._prefix + profile.member_id) for profile in profiles]
        )

    def profile(self, member_id: str) -> Profile | None:
        profile = self._store.profile(self._prefix + member_id)
        return None if profile is None else msgspec.structs.replace(profile, member_id=member_id)

    def member_ids(self, limit: int) -> list[str]:
        listed = self._store.member_ids(ALL)
        ours = [name.removeprefix(self._prefix) for name in listed if name.startswith(self._prefix)]
        return ours[: max(limit, 0)]

    def forget(self, member_id: str) -> int:
        return self._store.forget(self._prefix + member_id)

    def close(self) -> None:
        """The keyspace's store stays open for the next namespace."""

    def _kind(self, kind: str) -> str:
        return f"{kind}@{self._namespace}"
