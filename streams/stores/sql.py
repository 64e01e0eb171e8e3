"""SQL engines by URL, a SQLite file below the state folder or a PostgreSQL server, and how they are read and written.

Opening connects to nothing: a database that is away is noticed, as TryAgain, where it is used, and used again once it
is back. The first use makes the tables, or brings them up to date.
"""

from __future__ import annotations

import math
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from streams.errors import FixRequest
from streams.settings import Settings
from streams.stores.sql_schema import look_again, migrate
from streams.stores.sql_transactions import MissingTable, transaction

BUSY_TIMEOUT_MS: Final = 2_000
"""How long a statement waits for another process's write lock on a SQLite file before it fails."""

RECYCLE_S: Final = 1_800
"""A connection older than this is replaced, so that none outlives what firewalls and failovers forget."""

GRACE_S: Final = 1.0
"""A server that runs ends a statement at its timeout by itself; one that has not answered by this later does not."""

KEEPALIVES: Final = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
"""A server that has vanished without a word is noticed within these seconds, also in the middle of an answer."""


def open_sql(settings: Settings) -> sa.Engine:
    """Return the engine of `settings.sql_url`; a `sqlite:` path is below the state folder, in WAL mode.

    Raises FixRequest for a URL that names no known engine or cannot be read; it does not repeat what may be a password.
    """
    scheme = settings.scheme_of(settings.sql_url)
    if scheme == "sqlite":
        return _open_sqlite(settings.path_of(settings.sql_url))
    if scheme == "postgresql":
        return _open_postgresql(settings)
    raise FixRequest("MARQUEE_SQL_URL", f"{scheme or 'nothing'}: is not a known engine; known are sqlite:, postgresql:")


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Yield a connection to read with, its tables up to date; see `transaction` for its errors."""
    with _using(engine), transaction(engine) as connection:
        yield connection


@contextmanager
def writing(engine: sa.Engine, lock: str = "") -> Iterator[sa.Connection]:
    """Yield a connection to write with, committed at the end of the block; see `transaction` for `lock` and errors."""
    with _using(engine), transaction(engine, writes=True, lock=lock) as connection:
        yield connection


@contextmanager
def _using(engine: sa.Engine) -> Iterator[None]:
    migrate(engine)
    try:
        yield
    except MissingTable:
        look_again(engine)
        raise


def insert_new(engine: sa.Engine, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that leaves rows as they are whose primary key is there; the result's `rowcount` says how many
    were new (psycopg counts none unless it is told to)."""
    insert = _insert(engine, table).on_conflict_do_nothing(index_elements=list(table.primary_key))
    return insert.execution_options(preserve_rowcount=True)


def upsert(engine: sa.Engine, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that replaces the row of the same primary key, if there is one."""
    insert = _insert(engine, table)
    new = {column.name: insert.excluded[column.name] for column in table.c if not column.primary_key}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=new)


def _insert(engine: sa.Engine, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if engine.dialect.name == "postgresql" else sqlite.insert(table)


def _open_sqlite(path: Path) -> sa.Engine:
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(f"sqlite:///{path}", hide_parameters=True)
    sa.event.listen(engine, "connect", _configure_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says, before DDL and reads, too
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    _write_ahead(cursor)
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Set WAL mode. Where several processes do so first at once, SQLite fails without waiting: this waits."""
    until_s = time.monotonic() + BUSY_TIMEOUT_MS / 1_000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: sa.Connection) -> None:
    """Begin; one that will write takes the lock first, because a transaction that reads and then writes fails at once
    where another has written in between."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _open_postgresql(settings: Settings) -> sa.Engine:
    try:
        url = sa.make_url(settings.sql_url).set(drivername="postgresql+psycopg")
    except (sa.exc.ArgumentError, ValueError):
        raise FixRequest(
            "MARQUEE_SQL_URL", "cannot be read; it has the form postgresql://user@host:5432/database"
        ) from None
    if password := settings.sql_password.get_secret_value():
        url = url.set(password=password)
    timeout_ms = int(settings.sql_timeout_s * 1_000)
    limits = f"-c statement_timeout={timeout_ms} -c idle_in_transaction_session_timeout={timeout_ms * 6}"
    arguments = {
        "connect_timeout": max(2, math.ceil(settings.sql_timeout_s)),  # libpq takes whole seconds, two at least
        "application_name": url.query.get("application_name", _application_name()),
        "options": f"{limits} {url.query.get('options', '')}",
        "tcp_user_timeout": timeout_ms,
        **KEEPALIVES,
    }
    from streams.stores.postgres_waiting import bound_waits  # psycopg is imported where it is used

    engine = sa.create_engine(
        url,
        connect_args=arguments,
        pool_size=settings.sql_pool,
        max_overflow=0,
        pool_timeout=settings.sql_timeout_s,
        pool_pre_ping=True,
        pool_recycle=RECYCLE_S,
        hide_parameters=True,
    )
    bound_waits(engine, settings.sql_timeout_s + GRACE_S)
    return engine


def _application_name() -> str:
    """Return what `pg_stat_activity` shows of this process: "marquee" and the sub-command, if it is one."""
    command = next((word for word in sys.argv[1:] if word.isalpha()), "")
    return f"marquee {command}".strip()
