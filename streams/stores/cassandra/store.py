"""A DurableStore on Cassandra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from streams.settings import Settings
from streams.stores.cassandra import claims, history, profiles, states
from streams.stores.cassandra.connection import CassandraConnection
from streams.stores.cassandra.history import HistoryTable
from streams.stores.cassandra.profiles import ProfilesTable
from streams.stores.cassandra.states import StatesTable
from streams.stores.protocol import HistoryRow, Profile, StateEntry

STATEMENTS: Final = (*states.STATEMENTS, *claims.STATEMENTS, *history.STATEMENTS, *profiles.STATEMENTS)


class CassandraDurableStore:
    """Connects at first use. Every call may raise TryAgain (the cluster is away, or a request of the call took longer
    than `cassandra_timeout_s`), SlowDown (it is overloaded), or FixRequest (a setting is wrong, or the keyspace is of a
    newer release)."""

    def __init__(self, settings: Settings) -> None:
        self._connection = CassandraConnection(settings, STATEMENTS)
        self._states = StatesTable(self._connection)
        self._history = HistoryTable(self._connection, settings.history_ttl_s)
        self._profiles = ProfilesTable(self._connection)

    def get(self, kind: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values in the order of the keys, None where absent or deleted."""
        return self._states.get(kind, keys)

    def positions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return the position of each key's state (a tombstone's too), NOTHING where there never was one."""
        return self._states.positions(kind, keys)

    def versions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return `version_of` each key's state."""
        return self._states.versions(kind, keys)

    def put(self, kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        """Write each entry that is newer than what is stored; say which were. Each is atomic, the call is not."""
        return self._states.put(kind, entries)

    def write(self, kind: str, entries: Sequence[StateEntry]) -> None:
        """As put, without saying which were written."""
        self._states.write(kind, entries)

    def scan(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of every state of a kind, page by page, in the order of the ring."""
        return self._states.scan(kind)

    def drop(self, kind: str, limit: int) -> int:
        """Delete up to `limit` states of a kind for good; return how many. The kind's name is not to be used again."""
        return self._states.drop(kind, limit)

    def append_history(self, rows: Sequence[HistoryRow]) -> None:
        """Add rows; one already there (same member, event time and position) stays."""
        self._history.append(rows)

    def history(self, member_id: str, limit: int) -> list[HistoryRow]:
        """Return the member's newest rows by event time, newest first."""
        return self._history.newest(member_id, limit)

    def put_profiles(self, profiles: Sequence[Profile]) -> None:
        """Write profiles, keeping the earlier first_seen_ms and the later last_seen_ms of what is stored.

        A country or device replaces a stored one unless it is empty or was seen earlier.
        """
        self._profiles.put(profiles)

    def profile(self, member_id: str) -> Profile | None:
        """Return a member's profile, None for one never seen."""
        return self._profiles.get(member_id)

    def member_ids(self, limit: int) -> list[str]:
        """Return up to `limit` ids of known members, the most recently seen first."""
        return self._profiles.member_ids(limit)

    def forget(self, member_id: str) -> int:
        """Delete a member's history and profile; return how many rows there were.

        History rows of older positions than the newest one there stay gone when they are written again.
        """
        return self._history.forget(member_id) + self._profiles.forget(member_id) if member_id else 0

    def close(self) -> None:
        """Let go of the connections."""
        self._connection.close()
