"""Reading experiments from their table."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec
import sqlalchemy as sa

from streams.errors import Corrupt
from streams.experiments.definition import Experiment, Patch, Status
from streams.experiments.tables import defaults_table, experiments_table
from streams.stores.sql import reading

_EXPERIMENT: Final = msgspec.json.Decoder(Experiment)
_PATCH: Final = msgspec.json.Decoder(Patch)


def read_experiments(engine: sa.Engine, statuses: Collection[Status] = ()) -> list[Experiment]:
    """Return the experiments of these statuses (none named: of all), by id.

    Raises TryAgain when the database is away, Corrupt for a row that is no experiment of this version of Marquee.
    """
    select = sa.select(experiments_table.c.value).order_by(experiments_table.c.id)
    if statuses:
        select = select.where(experiments_table.c.status.in_(sorted(statuses)))
    with reading(engine) as connection:
        rows = connection.scalars(select).all()
    return [decode_experiment(row) for row in rows]


def decode_experiment(value: str) -> Experiment:
    """Return the experiment of a row. Raises Corrupt."""
    try:
        return _EXPERIMENT.decode(value)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"an experiment in the database cannot be read: {error}") from error


def read_defaults(engine: sa.Engine) -> Patch:
    """Return what shipped experiments have made of the defaults. Raises TryAgain when the database is away, Corrupt."""
    with reading(engine) as connection:
        value = connection.scalar(sa.select(defaults_table.c.value).where(defaults_table.c.id == 1))
    return Patch() if value is None else decode_patch(value)


def decode_patch(value: str) -> Patch:
    """Return the patch of a row. Raises Corrupt."""
    try:
        return _PATCH.decode(value)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"the serving defaults in the database cannot be read: {error}") from error
