"""Stores that count: how long their operations take, and which fail, by engine, operation and kind of state.

A measured operation costs about a microsecond more, half of what the embedded hot store takes for a whole lookup. So
that store is not wrapped where each cached page asks it; agents work in batches, and a durable store is seldom read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from prometheus_client import Histogram

from streams.errors import MarqueeError
from streams.metrics import STORE_ERRORS, STORE_SECONDS
from streams.settings import Settings
from streams.stores.open import open_durable, open_hot
from streams.stores.protocol import DurableStore, HistoryRow, Profile, StateEntry, StateStore

T = TypeVar("T")
StoreT = TypeVar("StoreT", bound=StateStore)

HISTORY, PROFILE = "history", "profile"
"""What stands for the kind where an operation is on no state."""


def open_metered_hot(settings: Settings) -> StateStore:
    """Return the hot store of the settings, measured. Raises FixRequest for unknown schemes."""
    return MeteredStore(open_hot(settings), settings.scheme_of(settings.hot_url))


def open_metered_durable(settings: Settings) -> DurableStore:
    """Return the durable store of the settings, measured. Raises FixRequest for unknown schemes."""
    return MeteredDurableStore(open_durable(settings), settings.scheme_of(settings.durable_url))


class MeteredStore(Generic[StoreT]):
    """A StateStore that measures another. engine: what its metrics are labelled with."""

    def __init__(self, store: StoreT, engine: str) -> None:
        self._store = store
        self._engine = engine
        self._timers: dict[tuple[str, str], Histogram] = {}

    def __getattr__(self, name: str) -> Any:
        """Pass on what only this engine has."""
        return getattr(self._store, name)

    def get(self, kind: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """See StateStore."""
        return self._measured("get", kind, lambda: self._store.get(kind, keys))

    def positions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """See StateStore."""
        return self._measured("positions", kind, lambda: self._store.positions(kind, keys))

    def versions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """See StateStore."""
        return self._measured("versions", kind, lambda: self._store.versions(kind, keys))

    def put(self, kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        """See StateStore."""
        return self._measured("put", kind, lambda: self._store.put(kind, entries))

    def scan(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """See StateStore. Its errors are counted; its time is the caller's as much as the store's."""
        try:
            yield from self._store.scan(kind)
        except MarqueeError as error:
            self._count("scan", kind, error)
            raise

    def drop(self, kind: str, limit: int) -> int:
        """See StateStore."""
        return self._measured("drop", kind, lambda: self._store.drop(kind, limit))

    def close(self) -> None:
        """See StateStore."""
        self._store.close()

    def _measured(self, operation: str, kind: str, run: Callable[[], T]) -> T:
        started_s = time.perf_counter()
        try:
            return run()
        except MarqueeError as error:
            self._count(operation, kind, error)
            raise
        finally:
            timer = self._timers.get((operation, kind)) or self._timer(operation, kind)
            timer.observe(time.perf_counter() - started_s)

    def _timer(self, operation: str, kind: str) -> Histogram:
        timer = self._timers[operation, kind] = STORE_SECONDS.labels(self._engine, operation, kind)
        return timer

    def _count(self, operation: str, kind: str, error: MarqueeError) -> None:
        STORE_ERRORS.labels(self._engine, operation, kind, type(error).__name__).inc()


class MeteredDurableStore(MeteredStore[DurableStore]):
    """A DurableStore that measures another."""

    def write(self, kind: str, entries: Sequence[StateEntry]) -> None:
        """See DurableStore."""
        self._measured("write", kind, lambda: self._store.write(kind, entries))

    def append_history(self, rows: Sequence[HistoryRow]) -> None:
        """See DurableStore."""
        self._measured("append", HISTORY, lambda: self._store.append_history(rows))

    def history(self, member_id: str, limit: int) -> list[HistoryRow]:
        """See DurableStore."""
        return self._measured("get", HISTORY, lambda: self._store.history(member_id, limit))

    def put_profiles(self, profiles: Sequence[Profile]) -> None:
        """See DurableStore."""
        self._measured("put", PROFILE, lambda: self._store.put_profiles(profiles))

    def profile(self, member_id: str) -> Profile | None:
        """See DurableStore."""
        return self._measured("get", PROFILE, lambda: self._store.profile(member_id))

    def member_ids(self, limit: int) -> list[str]:
        """See DurableStore."""
        return self._measured("list", PROFILE, lambda: self._store.member_ids(limit))

    def forget(self, member_id: str) -> int:
        """See DurableStore."""
        return self._measured("forget", HISTORY, lambda: self._store.forget(member_id))
