"""The tables of the SQL database: one linear history of migrations, brought up to date where it is behind.

The history (streams/stores/migrations/versions) is explicit and imports no table of the code, so that it may lie on the
lowest floor and still make the tables of all; a test holds both against each other, on SQLite and PostgreSQL.
"""

from __future__ import annotations

from typing import Final
from weakref import WeakSet

import sqlalchemy as sa

from streams.stores.sql_transactions import MissingTable, transaction

HEAD: Final = "0002"
"""The newest revision. Here once more, so that a database that is at it is used without Alembic being imported."""

LOCK: Final = "schema"

_up_to_date: WeakSet[sa.Engine] = WeakSet()


def migrate(engine: sa.Engine) -> None:
    """Bring the database's tables up to date; costs nothing where this process has seen that they are.

    Several processes may do so at once: one does the work, the others wait for it. Tables made before there were
    migrations are taken over as they are. Raises FixRequest for a database of a newer version of Marquee, TryAgain when
    it is away.
    """
    if engine in _up_to_date:
        return
    if schema_version(engine) != HEAD:
        from streams.stores.migrations.upgrade import upgrade  # Alembic takes as long to import as SQLAlchemy

        with transaction(engine, writes=True, lock=LOCK) as connection:
            upgrade(connection)
    _up_to_date.add(engine)


def schema_version(engine: sa.Engine) -> str | None:
    """Return the revision that the database is at, None if it has no tables or is older than migrations.

    Raises TryAgain when it is away.
    """
    try:
        with transaction(engine) as connection:
            version: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    except MissingTable:
        return None
    return version


def look_again(engine: sa.Engine) -> None:
    """Have the next `migrate` ask the database: its tables have gone, as when it was restored or made anew."""
    _up_to_date.discard(engine)
