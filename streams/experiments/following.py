"""Experiments as an agent follows them: looked at before each batch, decoded when they have changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

from streams.experiments.definition import Experiment, Status
from streams.experiments.table import decode_experiment
from streams.experiments.tables import experiments_table
from streams.stores.sql import reading

STARTED: Final[tuple[Status, ...]] = ("running", "stopped", "decided", "promoted", "archived")
LATE_MS: Final = 2 * 86_400_000
"""What happened before an experiment's stop and is told so much later still counts, whatever was decided meanwhile: an
app may tell of exposures a day late, and so may a spool."""


class FollowedExperiments:
    """The experiments that were ever started, by id. One thread's."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._known: dict[str, Experiment] = {}

    def refresh(self) -> Mapping[str, Experiment]:
        """Return them as they are now. Raises TryAgain when the database is away, Corrupt."""
        with reading(self._engine) as connection:
            return self.read(connection)

    def read(self, connection: sa.Connection) -> Mapping[str, Experiment]:
        """Return them as a transaction sees them. Raises as `refresh` does."""
        table = experiments_table.c
        started = table.status.in_(STARTED)
        found = connection.execute(sa.select(table.id, table.revision).where(started))
        revisions = {row.id: row.revision for row in found}
        changed = [name for name, revision in revisions.items() if self._revision(name) != revision]
        if changed:
            rows = connection.execute(sa.select(table.id, table.value).where(table.id.in_(changed)))
            new = {row.id: decode_experiment(row.value) for row in rows}
            self._known = {**self._known, **new}
        self._known = {name: self._known[name] for name in revisions if name in self._known}
        return self._known

    def _revision(self, name: str) -> int | None:
        known = self._known.get(name)
        return None if known is None else known.revision


def is_counted(experiment: Experiment, told_ms: int) -> bool:
    """Return whether what the log was told at a time (Unix ms) may change the outcomes of an experiment."""
    if experiment.started_at_ms is None:
        return False
    return experiment.stopped_at_ms is None or told_ms < experiment.stopped_at_ms + LATE_MS
