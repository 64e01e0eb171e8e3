"""Experiments in the SQL database: a change is checked, applied to the revision it was meant for, and audited in one
transaction. Editors may work at once; who comes second is told."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from typing import Any, Final

import msgspec
import sqlalchemy as sa

from serving.experiments.audit import write_entry
from serving.experiments.lifecycle import Action, Edit, Ramp, Ship, Start, Undo, transition
from serving.experiments.pinning import check_places, resolve_models, with_models
from serving.experiments.refusals import Conflict, UnknownExperiment
from serving.experiments.roles import Actor
from serving.experiments.shipping import Shipped, ship, tested_model, undo
from serving.experiments.validation import check_definition, models_named
from serving.models.aliases import LOCK as REGISTRY_LOCK
from streams.experiments.definition import Definition, Experiment, Status
from streams.experiments.table import decode_experiment
from streams.experiments.tables import experiments_table
from streams.stores.sql import insert_new, reading, writing

LOCK: Final = "experiments"
MAX_EXPERIMENTS: Final = 10_000
"""Of any status: far more than a company runs in ten years, and some 100 MB."""

Verify = Callable[[str], object]
"""Reads a model's files and raises Corrupt or TryAgain unless it could serve."""


class ExperimentStore:
    """Reads and changes experiments. Every method raises TryAgain when the database is away."""

    def __init__(self, engine: sa.Engine, verify: Verify) -> None:
        """verify: called with the version of a model before it is made champion."""
        self._engine = engine
        self._verify = verify

    def read(self, experiment_id: str) -> Experiment:
        """Return an experiment. Raises UnknownExperiment."""
        with reading(self._engine) as connection:
            return _read(connection, experiment_id)

    def listed(self, statuses: Collection[Status] = (), *, after: str = "", limit: int = 100) -> list[Experiment]:
        """Return experiments of these statuses (none named: of all), by id, from the one after `after` on."""
        query = sa.select(experiments_table.c.value).where(experiments_table.c.id > after)
        if statuses:
            query = query.where(experiments_table.c.status.in_(sorted(statuses)))
        with reading(self._engine) as connection:
            rows = connection.scalars(query.order_by(experiments_table.c.id).limit(limit)).all()
        return [decode_experiment(row) for row in rows]

    def check(self, definition: Definition) -> None:
        """Raise Invalid, naming every problem, unless a definition can be run."""
        with reading(self._engine) as connection:
            _check(connection, definition)

    def create(self, definition: Definition, actor: Actor, now_ms: int) -> Experiment:
        """Add a draft. Raises Invalid for what cannot be run, Conflict for an id that is taken."""
        created = Experiment(definition, created_at_ms=now_ms)
        with writing(self._engine, LOCK) as connection:
            _check(connection, definition)
            if (connection.scalar(sa.select(sa.func.count()).select_from(experiments_table)) or 0) >= MAX_EXPERIMENTS:
                raise Conflict("id", f"there are {MAX_EXPERIMENTS} experiments; no more are kept")
            insert = insert_new(self._engine, experiments_table).values(_row(created, now_ms))
            if connection.scalar(insert.returning(experiments_table.c.id)) is None:  # psycopg counts no rows here
                raise Conflict("id", f"there is an experiment {definition.id} already; choose another id, or edit it")
            detail = {"definition": msgspec.to_builtins(definition)}
            write_entry(connection, definition.id, created.revision, actor, "create", detail, now_ms)
        return created

    def act(
        self,
        experiment_id: str,
        action: Action,
        actor: Actor,
        now_ms: int,
        rng: random.Random,
        *,
        expected: int | None = None,
    ) -> Experiment:
        """Take an action; return the experiment after it. expected: the revision it is meant for, None for any.

        Raises UnknownExperiment, Conflict for another revision or a status that does not allow it, FixRequest (Invalid)
        for an action that is wrong; of shipping Corrupt, too, for a model that could not serve.
        """
        moves_models = isinstance(action, Ship | Undo)
        if isinstance(action, Ship):
            self._verify_model(experiment_id, action.variant)
        with writing(self._engine, REGISTRY_LOCK if moves_models else LOCK) as connection:
            before = _read(connection, experiment_id)
            if expected not in (None, before.revision):
                raise Conflict("revision", f"it is at {before.revision}, not {expected}: read it again, then decide")
            running = _running_but(connection, experiment_id) if isinstance(action, Start | Ramp | Edit) else []
            after = transition(before, action, now_ms, rng, running)
            if isinstance(action, Start) or (isinstance(action, Edit) and before.status == "draft"):
                _check(connection, after.definition)
            elif isinstance(action, Edit):
                check_definition(after.definition)  # its models are in service, or were: no matter of words
            if isinstance(action, Start):
                after = with_models(connection, after)
                check_places(after, running)
            detail = _detail(action, before, after)
            if isinstance(action, Ship):
                detail["changed"] = _kept(ship(connection, before, action, now_ms))
            elif isinstance(action, Undo):
                detail["changed"] = _kept(undo(connection, before, action.reason, now_ms))
            _write(connection, before, after, now_ms)
            write_entry(connection, experiment_id, after.revision, actor, detail.pop("type"), detail, now_ms)
        return after

    def _verify_model(self, experiment_id: str, variant: str) -> None:
        """Read the model's files before any lock is held: it takes a while."""
        with reading(self._engine) as connection:
            version = tested_model(connection, _read(connection, experiment_id), variant)
        if version is not None:
            self._verify(version)


def _read(connection: sa.Connection, experiment_id: str) -> Experiment:
    value = connection.scalar(sa.select(experiments_table.c.value).where(experiments_table.c.id == experiment_id))
    if value is None:
        raise UnknownExperiment(
            "id", f"there is no experiment {experiment_id[:64]!r}; `marquee experiments list` shows all"
        )
    return decode_experiment(value)


def _running_but(connection: sa.Connection, experiment_id: str) -> list[Experiment]:
    others = sa.and_(experiments_table.c.status == "running", experiments_table.c.id != experiment_id)
    return [
        decode_experiment(value) for value in connection.scalars(sa.select(experiments_table.c.value).where(others))
    ]


def _check(connection: sa.Connection, definition: Definition) -> None:
    named = models_named(definition)
    check_definition(definition, set(named) - resolve_models(connection, named).keys())


def _row(experiment: Experiment, now_ms: int) -> dict[str, Any]:
    return {
        "id": experiment.definition.id,
        "status": experiment.status,
        "revision": experiment.revision,
        "value": msgspec.json.encode(experiment).decode(),
        "updated_at_ms": now_ms,
    }


def _write(connection: sa.Connection, before: Experiment, after: Experiment, now_ms: int) -> None:
    """Compare and set: whoever holds another lock may have changed the row since it was read."""
    here = sa.and_(experiments_table.c.id == before.definition.id, experiments_table.c.revision == before.revision)
    if connection.execute(sa.update(experiments_table).where(here).values(_row(after, now_ms))).rowcount != 1:
        raise Conflict("revision", f"it is no longer at {before.revision}: read it again, then decide")


def _detail(action: Action, before: Experiment, after: Experiment) -> dict[str, Any]:
    """Return what the audit trail keeps: the action as it was asked for, and what it changed."""
    detail: dict[str, Any] = msgspec.to_builtins(action)
    if after.traffic != before.traffic:
        detail["traffic"] = {"before": before.traffic, "after": after.traffic}
    if after.models != before.models:
        detail["models"] = after.models
    if isinstance(action, Edit):
        fields = Definition.__struct_fields__
        old, new = before.definition, after.definition
        detail["changed"] = [field for field in fields if getattr(old, field) != getattr(new, field)]
    return detail


def _kept(shipped: Shipped) -> dict[str, Any]:
    kept: dict[str, Any] = msgspec.to_builtins(shipped)
    return kept
