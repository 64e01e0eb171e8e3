"""Moving the registry's aliases: each move is kept with its reason, and several processes may move at once."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from serving.models.registry import alias_changes, model_aliases, model_versions
from streams.errors import FixRequest, TryAgain
from streams.stores.sql import writing

ANY: Final = ""
LOCK: Final = "registry"
"""Whoever writes the registry asks for this lock first."""


def set_alias(
    engine: sa.Engine, alias: str, version: str, reason: str, now_ms: int, *, expected: str | None = ANY
) -> bool:
    """Point an alias to a registered version, with the audit row, in one transaction; return False if it is there.

    expected: the version the alias must point to before (None: to none), ANY for any. Raises TryAgain if it points
    elsewhere, FixRequest for an unknown version or an empty reason.
    """
    if not reason.strip():
        raise FixRequest("reason", "say why the alias is moved; it is kept with the change")
    with writing(engine, LOCK) as connection:
        return move_alias(connection, alias, version, reason, now_ms, expected)


def move_alias(
    connection: sa.Connection, alias: str, version: str, reason: str, now_ms: int, expected: str | None = ANY
) -> bool:
    """Do what `set_alias` does in a transaction of the caller's, who holds LOCK."""
    here = model_aliases.c.alias == alias
    if not _is_registered(connection, version):
        raise FixRequest("version", f"{version[:12]} is not registered; `marquee models list` shows what is")
    previous = connection.scalar(sa.select(model_aliases.c.version).where(here))
    if previous == version:
        return False
    if expected not in (ANY, previous):
        raise TryAgain(f"alias {alias} moved to {(previous or 'nothing')[:12]} meanwhile; decide again")
    row = {"version": version, "set_at_ms": now_ms, "reason": reason}
    if previous is None:
        connection.execute(sa.insert(model_aliases).values(alias=alias, **row))
    else:
        connection.execute(sa.update(model_aliases).where(here).values(row))
    connection.execute(sa.insert(alias_changes).values(alias=alias, previous=previous, **row))
    return True


def _is_registered(connection: sa.Connection, version: str) -> bool:
    found = connection.scalar(sa.select(model_versions.c.version).where(model_versions.c.version == version))
    return found is not None
