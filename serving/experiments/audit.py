"""The audit trail: who did what to which experiment, when and why. An entry is written with what it tells of."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from serving.experiments.roles import Actor
from streams.errors import Corrupt
from streams.experiments.tables import audit_table
from streams.stores.sql import reading


class Entry(msgspec.Struct, frozen=True):
    """One action. n: ascending; revision: the experiment's after it; detail: what was asked, and what came of it."""

    n: int
    experiment: str
    revision: int
    at_ms: int
    actor: str
    role: str
    action: str
    detail: dict[str, Any]


def write_entry(
    connection: sa.Connection,
    experiment: str,
    revision: int,
    actor: Actor,
    action: str,
    detail: dict[str, Any],
    now_ms: int,
) -> None:
    """Add an entry in the caller's transaction."""
    connection.execute(
        sa.insert(audit_table).values(
            experiment=experiment,
            revision=revision,
            at_ms=now_ms,
            actor=actor.name,
            role=actor.role,
            action=action,
            detail=msgspec.json.encode(detail).decode(),
        )
    )


def read_audit(
    engine: sa.Engine, experiment: str, *, after: int = 0, limit: int = 1_000, newest_first: bool = False
) -> list[Entry]:
    """Return an experiment's entries behind the one numbered `after` (0: from the first on), oldest first or newest
    first. Raises TryAgain, Corrupt."""
    n = audit_table.c.n
    where, order = audit_table.c.experiment == experiment, n.desc() if newest_first else n.asc()
    if after:
        where = sa.and_(where, n < after if newest_first else n > after)
    with reading(engine) as connection:
        rows = connection.execute(sa.select(audit_table).where(where).order_by(order).limit(limit)).all()
    return [_entry(row) for row in rows]


def newest_entry(connection: sa.Connection, experiment: str, action: str) -> Entry | None:
    """Return the newest entry of an action on an experiment, None if there is none."""
    where = sa.and_(audit_table.c.experiment == experiment, audit_table.c.action == action)
    row = connection.execute(sa.select(audit_table).where(where).order_by(audit_table.c.n.desc()).limit(1)).first()
    return None if row is None else _entry(row)


def _entry(row: sa.Row[Any]) -> Entry:
    try:
        detail = msgspec.json.decode(row.detail, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise Corrupt(f"entry {row.n} of the audit trail cannot be read: {error}") from error
    return Entry(row.n, row.experiment, row.revision, row.at_ms, row.actor, row.role, row.action, detail)
