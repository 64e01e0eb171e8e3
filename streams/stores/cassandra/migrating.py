"""Bringing a keyspace to the schema that this release knows; safe when several processes start at once."""

from __future__ import annotations

import time
import uuid
from typing import Any, Final

from cassandra import InvalidRequest

from streams.errors import FixRequest, TryAgain
from streams.stores.cassandra.schema import MIGRATIONS, Migration

LOCK_TTL_S: Final = 60
"""A process that dies over a migration holds the others up for so long; each statement must take less."""

WAIT_S: Final = 90.0
POLL_S: Final = 0.1
SCHEMA: Final = "schema"
"""The driver's execution profile for statements that change the schema."""

_VERSIONS: Final = "SELECT version FROM {keyspace}.schema_migrations WHERE one = 0"
_NOTE: Final = """
INSERT INTO {keyspace}.schema_migrations (one, version, name, applied_at) VALUES (0, %s, %s, toTimestamp(now()))
"""
_LOCK: Final = "INSERT INTO {keyspace}.schema_lock (one, owner) VALUES (0, %s) IF NOT EXISTS USING TTL %s"
_RENEW: Final = "UPDATE {keyspace}.schema_lock USING TTL %s SET owner = %s WHERE one = 0 IF owner = %s"
_UNLOCK: Final = "DELETE FROM {keyspace}.schema_lock WHERE one = 0 IF owner = %s"
_PREPARATION: Final = (
    """
CREATE KEYSPACE IF NOT EXISTS {keyspace}
WITH replication = {'class': 'NetworkTopologyStrategy', '{datacenter}': {replication}}
""",
    """
CREATE TABLE IF NOT EXISTS {keyspace}.schema_migrations (
    one int, version int, name text, applied_at timestamp, PRIMARY KEY (one, version)
)
""",
    "CREATE TABLE IF NOT EXISTS {keyspace}.schema_lock (one int PRIMARY KEY, owner uuid)",
)


class Migrator:
    """session: the driver's, whose profile SCHEMA waits long enough. datacenter, replication: of a new keyspace."""

    def __init__(
        self,
        session: Any,
        keyspace: str,
        datacenter: str,
        replication: int,
        migrations: tuple[Migration, ...] = MIGRATIONS,
    ) -> None:
        self._session = session
        self._names = {"{keyspace}": keyspace, "{datacenter}": datacenter, "{replication}": str(replication)}
        self._migrations = migrations
        self._owner = uuid.uuid4()

    def run(self) -> None:
        """Apply what is missing, in order. Raises FixRequest if the keyspace is of a newer release, TryAgain if another
        process does not get done with its migration."""
        if not self._missing():
            return
        for statement in _PREPARATION:
            self._change(statement)
        self._lock()
        try:
            for migration in self._missing():
                self._apply(migration)
        finally:
            self._execute(_UNLOCK, (self._owner,))

    def _missing(self) -> list[Migration]:
        """Return the migrations that the keyspace lacks. Raises FixRequest if it has one that is not known."""
        try:
            applied = {row[0] for row in self._execute(_VERSIONS)}
        except InvalidRequest:
            return list(self._migrations)  # no such keyspace or table yet
        known = max(migration.version for migration in self._migrations)
        if applied and max(applied) > known:
            raise FixRequest(
                "MARQUEE_DURABLE_URL",
                f"keyspace {self._names['{keyspace}']} has schema version {max(applied)}, this release of Marquee "
                f"knows {known}: run the release that made it, or a later one, or name another keyspace",
            )
        return [migration for migration in self._migrations if migration.version not in applied]

    def _apply(self, migration: Migration) -> None:
        for statement in migration.statements:
            self._change(statement)
            if not self._execute(_RENEW, (LOCK_TTL_S, self._owner, self._owner))[0][0]:
                raise TryAgain("another process has taken the migration over")
        self._execute(_NOTE, (migration.version, migration.name))

    def _lock(self) -> None:
        until_s = time.monotonic() + WAIT_S
        while not self._execute(_LOCK, (self._owner, LOCK_TTL_S))[0][0]:
            if time.monotonic() > until_s:
                raise TryAgain("another process is migrating the schema")
            time.sleep(POLL_S)

    def _change(self, statement: str) -> None:
        """Change the schema, and see that all nodes have the change before anything builds on it."""
        result = self._session.execute(self._named(statement), execution_profile=SCHEMA)
        if not result.response_future.is_schema_agreed:
            raise TryAgain("the nodes do not agree on the schema yet")

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        return list(self._session.execute(self._named(statement), values or None, execution_profile=SCHEMA))

    def _named(self, statement: str) -> str:
        for mark, name in self._names.items():
            statement = statement.replace(mark, name)
        return statement
