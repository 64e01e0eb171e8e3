"""Transactions on SQLite and PostgreSQL alike: how they begin, whom they keep out, and what their errors ask for."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import sqlalchemy as sa

from streams.errors import Corrupt, FixRequest, MarqueeError, TryAgain

LOCK_SPACE: Final = 0x4D415251
"""The first of the two numbers of our advisory locks on PostgreSQL ("MARQ"), so that other applications' differ."""

_DAMAGED: Final = ("malformed", "not a database")
_UNDEFINED_TABLE: Final = "42P01"
_INSUFFICIENT_PRIVILEGE: Final = "42501"


class MissingTable(TryAgain):
    """A table is not there (yet, or any more)."""


@contextmanager
def transaction(engine: sa.Engine, *, writes: bool = False, lock: str = "") -> Iterator[sa.Connection]:
    """Yield a connection in a transaction: committed at the end, rolled back if the block raises.

    writes: take SQLite's write lock first; what is read in the block then stays true until its end. lock: on
    PostgreSQL, keep out whoever asks for the same name, so that the same holds there.
    Raises TryAgain when the database is away, slow, or another was first; FixRequest for what it cannot store or may
    not do; Corrupt for a damaged file; MissingTable, a TryAgain.
    """
    try:
        with engine.connect().execution_options(writes=writes) as connection, connection.begin():
            if lock and engine.dialect.name == "postgresql":
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK_SPACE, _lock_number(lock))))
            yield connection
    except sa.exc.SQLAlchemyError as error:
        raise _named(error) from error


def _lock_number(lock: str) -> sa.ColumnElement[int]:
    return sa.cast(zlib.crc32(lock.encode()) - 2**31, sa.Integer)


def _named(error: sa.exc.SQLAlchemyError) -> MarqueeError:
    """Return the error that says what to do about SQLAlchemy's."""
    reason, state = _reason(error), getattr(getattr(error, "orig", None), "sqlstate", None)
    if state == _UNDEFINED_TABLE or reason.startswith("no such table"):
        return MissingTable(f"the database has lost its tables: {reason}")
    if state == _INSUFFICIENT_PRIVILEGE:
        return FixRequest("MARQUEE_SQL_URL", f"{reason}; grant it, or run `marquee db upgrade` as a role that may")
    if isinstance(error, sa.exc.DataError):
        return FixRequest("value", f"the database cannot store it: {reason}")
    if isinstance(error, sa.exc.IntegrityError):
        return TryAgain(f"another process was first: {reason}")
    if isinstance(error, sa.exc.DatabaseError) and any(word in reason for word in _DAMAGED):
        return Corrupt(f"the database file is damaged ({reason}); restore it from a backup")
    return TryAgain(f"the database is away: {reason}")


def _reason(error: sa.exc.SQLAlchemyError) -> str:
    """Return the driver's own first line, without SQLAlchemy's statement and links."""
    text = str(getattr(error, "orig", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
