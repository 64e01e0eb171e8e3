"""Reads of a hot store for one event loop, which serves pages: what is known without asking, and one round trip.

An engine on this machine is looked into at every read. One behind a network tells which states change (client-side
caching), so that a page whose state is known to be unchanged waits for nobody.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from streams.errors import MarqueeError
from streams.stores.protocol import POSITION_BYTES, StateStore, version_of


class LiveState(NamedTuple):
    """A state as it was read: its value, None where absent or deleted; its version (`version_of`, a tombstone's too, 0
    for none); and the cached page that was asked for, None where there is none."""

    value: bytes | None
    version: int
    page: bytes | None


class LiveReads(Protocol):
    """Reads of a hot store. All methods belong to one event loop; none but `read` waits for the engine."""

    async def start(self) -> None:
        """Begin to follow changes. Returns at once, whether the engine is there or not."""
        ...

    async def close(self) -> None:
        """Let go of connections; pages that wait to be written are dropped."""
        ...

    def known_version(self, kind: str, key: bytes) -> int | None:
        """Return the version of a state as it is now (as of the engine's staleness bound), 0 for none.

        None means that it has to be asked: never read, changed since, not followed, or the engine may be away.
        """
        ...

    async def read(self, kind: str, key: bytes, page: bytes | None = None) -> LiveState:
        """Return a state, and the cached page of the name `page` if one is given; one round trip.

        Raises TryAgain when the engine is away, within the time that settings give it; nothing is tried twice.
        """
        ...

    def put_page(self, kind: str, key: bytes, version: int, page: bytes, value: bytes, ttl_s: float) -> None:
        """Cache a page of the name `page`, made from a state of `version`, for other processes; at most for `ttl_s`.

        It is written some time later, or dropped: when the state has another version by then (every write of a state
        drops its pages), when too many wait, when the engine is away.
        """
        ...

    def changed(self, kind: str) -> set[bytes] | None:
        """Return the keys whose states may have changed since the last call; None: any of them may, scan them all.

        For one caller a kind: what it has been told is not told again.
        """
        ...

    @property
    def problem(self) -> str | None:
        """Why changes are not followed at the moment, None if they are."""
        ...


class LocalReads:
    """LiveReads of a store that answers in microseconds, without a network. Pages are not shared through it."""

    problem: str | None = None

    def __init__(self, store: StateStore) -> None:
        self._store = store

    async def start(self) -> None:
        """Do nothing: there is nothing to connect to."""

    async def close(self) -> None:
        """Do nothing: the store is its owner's to close."""

    def known_version(self, kind: str, key: bytes) -> int | None:
        """Return the version that the store holds, None while it is away."""
        try:
            return self._store.versions(kind, [key])[0]
        except MarqueeError:
            return None

    async def read(self, kind: str, key: bytes, page: bytes | None = None) -> LiveState:
        """Return the state; there is never a page."""
        value = self._store.get(kind, [key])[0]
        if value is not None:
            return LiveState(value, version_of(value), None)
        # The version of what is not there is read before it is looked for again: a state that is written meanwhile has
        # a higher one, and is not taken for included.
        version = self._store.versions(kind, [key])[0]
        value = self._store.get(kind, [key])[0]
        return LiveState(value, version if value is None else version_of(value), None)

    def put_page(self, kind: str, key: bytes, version: int, page: bytes, value: bytes, ttl_s: float) -> None:
        """Do nothing: another process of this machine makes a page as fast as it would read one."""

    def changed(self, kind: str) -> set[bytes] | None:
        """Return None: any state may have changed."""
        return None


def live_state(stored: bytes | None, page: bytes | None) -> LiveState:
    """Return what was read, from the stored bytes (a state's, a tombstone's, or none)."""
    is_live = stored is not None and len(stored) > POSITION_BYTES
    return LiveState(stored if is_live else None, version_of(stored), page)
