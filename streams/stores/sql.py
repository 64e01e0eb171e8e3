"""SQL engines by URL: SQLite files below the state folder by default."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from streams.settings import Settings

BUSY_TIMEOUT_MS = 2_000
"""How long a statement waits for another process's write lock before it fails."""


def open_sql(settings: Settings) -> sa.Engine:
    """Return the engine of `settings.sql_url`; a `sqlite:` path is below the state folder, in WAL mode."""
    if settings.scheme_of(settings.sql_url) != "sqlite":
        return sa.create_engine(settings.sql_url, pool_pre_ping=True)
    path = settings.path_of(settings.sql_url)
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(f"sqlite:///{path}")
    sa.event.listen(engine, "connect", _configure_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def ensure_tables(engine: sa.Engine, metadata: sa.MetaData) -> None:
    """Create the tables and indexes that are not there yet; safe while other processes do the same."""
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(sa.schema.CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(sa.schema.CreateIndex(index, if_not_exists=True))
