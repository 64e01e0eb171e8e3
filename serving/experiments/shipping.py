"""Shipping a variant: its patch becomes what pages do by default, and its model the champion; and the way back.

Shipped experiments pile up, and only the uppermost can be undone: what lies beneath is what it goes back to.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import sqlalchemy as sa

from serving.experiments.audit import newest_entry
from serving.experiments.lifecycle import Ship, to_override
from serving.experiments.patching import combine
from serving.experiments.pinning import aliased_at, resolve_models
from serving.experiments.refusals import Conflict
from serving.models.aliases import move_alias
from serving.models.registry import CHAMPION
from streams.errors import Corrupt
from streams.experiments.definition import Experiment, Patch
from streams.experiments.table import decode_patch
from streams.experiments.tables import audit_table, defaults_table, experiments_table

_ROW: Final = 1
_AS_IT_IS: Final = (None, CHAMPION)
"""Models of a patch that leave the champion alone. One that names it means whichever it is: it kept the champion of the
start only so that arms stayed alike, and one promoted meanwhile is not to be rolled back for that."""


class Shipped(msgspec.Struct, frozen=True):
    """What shipping changed; kept in the audit trail, for undoing. champion_*: None where the model stayed."""

    defaults_before: Patch
    defaults_after: Patch
    champion_before: str | None = None
    champion_after: str | None = None


def tested_model(connection: sa.Connection, experiment: Experiment, variant: str) -> str | None:
    """Return the version that shipping a variant makes the champion: the one that the experiment kept at its start or,
    where it kept none, what the alias named when it was stopped. None where the patch has no model, where it names the
    champion, or where the model is not registered (any more)."""
    named = next((arm.patch.model for arm in experiment.definition.variants if arm.key == variant), None)
    if named in _AS_IT_IS:
        return None
    kept = experiment.models.get(named) or aliased_at(connection, named, experiment.stopped_at_ms or 0) or named
    return resolve_models(connection, [kept]).get(kept)


def ship(connection: sa.Connection, experiment: Experiment, action: Ship, now_ms: int) -> Shipped:
    """Make a variant's patch the default and its model the champion, in the caller's transaction.

    The caller holds the registry's lock. Raises Conflict for a model that is not registered (any more), and where
    another one was promoted since the experiment started, unless that is overridden.
    """
    variant = action.variant
    patch = next(arm.patch for arm in experiment.definition.variants if arm.key == variant)
    before, revision = _defaults(connection)
    after = combine(before, msgspec.structs.replace(patch, model=None))
    _write_defaults(connection, after, revision)
    if patch.model in _AS_IT_IS:
        return Shipped(before, after)
    version = tested_model(connection, experiment, variant)
    champion = resolve_models(connection, [CHAMPION]).get(CHAMPION)
    if version is None:
        raise Conflict("variant", f"its model {patch.model} is not registered (any more); see `marquee models list`")
    if champion is None:
        raise Conflict("variant", "there is no champion to go back to; make one with `marquee models promote`")
    if version != champion and "champion" not in action.override:
        _check_champion(connection, champion, experiment.started_at_ms or 0)
    said = f"experiment {experiment.definition.id} shipped {variant}: {action.reason}"
    move_alias(connection, CHAMPION, version, said, now_ms, expected=champion)
    return Shipped(before, after, champion, version)


def _check_champion(connection: sa.Connection, champion: str, started_ms: int) -> None:
    """Raise Conflict unless the champion is the one that was there when the experiment started: the one by now may
    never have been compared with what would replace it."""
    before = aliased_at(connection, CHAMPION, started_ms)
    if champion != before:
        was = f"{before[:12]} was champion" if before else "there was no champion"
        raise to_override("champion", f"model {champion[:12]} was promoted since the experiment started, when {was}")


def undo(connection: sa.Connection, experiment: Experiment, reason: str, now_ms: int) -> Shipped:
    """Make defaults and champion again what they were before the experiment was shipped; return what that changed.

    The caller holds the registry's lock. Raises Conflict where something has been shipped or promoted since.
    """
    name = experiment.definition.id
    shipped = _shipped(connection, name)
    defaults, revision = _defaults(connection)
    top = _uppermost(connection)
    if top != name:
        raise Conflict("status", f"{top} was shipped on top of it; undo that first")
    if defaults != shipped.defaults_after:
        raise Conflict("status", "the defaults have been changed otherwise since it was shipped; change them by hand")
    _write_defaults(connection, shipped.defaults_before, revision)
    if shipped.champion_before is None or shipped.champion_after is None:
        return Shipped(defaults, shipped.defaults_before)
    champion = resolve_models(connection, [CHAMPION]).get(CHAMPION)
    if champion != shipped.champion_after:
        raise Conflict(
            "status",
            f"model {(champion or 'none')[:12]} has become champion since; to go on, promote "
            f"{shipped.champion_after[:12]} again, or ship what is wanted in an experiment of its own",
        )
    said = f"experiment {name} undone: {reason}"
    move_alias(connection, CHAMPION, shipped.champion_before, said, now_ms, expected=champion)
    return Shipped(defaults, shipped.defaults_before, champion, shipped.champion_before)


def _defaults(connection: sa.Connection) -> tuple[Patch, int]:
    """Return the defaults and their revision, 0 before anything was shipped."""
    row = connection.execute(sa.select(defaults_table).where(defaults_table.c.id == _ROW)).first()
    return (Patch(), 0) if row is None else (decode_patch(row.value), row.revision)


def _write_defaults(connection: sa.Connection, patch: Patch, revision: int) -> None:
    value = msgspec.json.encode(patch).decode()
    if revision == 0:
        connection.execute(sa.insert(defaults_table).values(id=_ROW, revision=1, value=value))
        return
    change = sa.update(defaults_table).where(defaults_table.c.id == _ROW, defaults_table.c.revision == revision)
    if connection.execute(change.values(revision=revision + 1, value=value)).rowcount != 1:
        raise Conflict("revision", "the defaults have been changed meanwhile; read them again")


def _shipped(connection: sa.Connection, name: str) -> Shipped:
    entry = newest_entry(connection, name, "ship")
    if entry is None:
        raise Corrupt(f"the audit trail does not say how {name} was shipped; it cannot be undone")
    found: dict[str, Any] = entry.detail.get("changed", {})
    return msgspec.convert(found, Shipped)


def _uppermost(connection: sa.Connection) -> str | None:
    """Return the experiment that was shipped last, of those that are."""
    shipped = sa.and_(audit_table.c.action == "ship", experiments_table.c.status == "promoted")
    pairs = audit_table.join(experiments_table, audit_table.c.experiment == experiments_table.c.id)
    query = sa.select(audit_table.c.experiment).select_from(pairs).where(shipped).order_by(audit_table.c.n.desc())
    return connection.scalar(query.limit(1))
