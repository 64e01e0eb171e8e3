"""Bringing a database up to date with Alembic; imported only where one is behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from streams.errors import FixRequest

TIMEOUT_S: Final = 600
"""How long a statement of a migration may take on PostgreSQL: longer than others, because it may rewrite a table."""


_one_at_a_time = threading.Lock()
"""Alembic keeps the migration that runs in module variables."""


def configuration() -> Config:
    """Return Alembic's configuration: where the history lies."""
    config = Config()
    config.set_main_option("script_location", "streams.stores:migrations")
    return config


def upgrade(connection: sa.Connection) -> None:
    """Run the revisions that the database lacks, in the connection's transaction: all of them or none.

    Call it with writers kept out. Raises FixRequest for a database of a newer version.
    """
    config = configuration()
    known = {revision.revision for revision in ScriptDirectory.from_config(config).walk_revisions()}
    found = MigrationContext.configure(connection).get_current_revision()
    if found is not None and found not in known:
        ways = f"run that version or a later one, or restore a backup of revision {max(known)} or before"
        raise FixRequest(
            "MARQUEE_SQL_URL", f"the database is at revision {found} of a newer version of Marquee; {ways}"
        )
    config.attributes["connection"] = connection
    with _one_at_a_time, _without_haste(connection):
        command.upgrade(config, "head")


@contextmanager
def _without_haste(connection: sa.Connection) -> Iterator[None]:
    """Let the transaction's statements take their time."""
    if connection.dialect.name != "postgresql":
        yield
        return
    from streams.stores.postgres_waiting import patient

    connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{TIMEOUT_S}s'")
    with patient(connection, TIMEOUT_S + 1.0):
        yield
