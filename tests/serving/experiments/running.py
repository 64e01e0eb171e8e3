"""Running experiments as serving finds them: rows of the table, written without the life cycle's checks."""

from __future__ import annotations

from typing import Any

import msgspec
import sqlalchemy as sa

from streams.experiments.definition import Definition, Experiment, Patch, Span, Variant
from streams.experiments.tables import defaults_table, experiments_table
from streams.stores.sql import writing

ALL = (Span(0, 2**64),)


def experiment(
    treatment: Patch = Patch(),  # noqa: B008 - immutable
    control: Patch = Patch(),  # noqa: B008 - immutable
    *,
    name: str = "exp",
    spans: tuple[Span, ...] = ALL,
    revision: int = 1,
    **definition: Any,
) -> Experiment:
    """Return a running experiment of the variants `a` and `b`, half of the members each."""
    variants = (Variant("a", 0.5, control), Variant("b", 0.5, treatment))
    return Experiment(
        Definition(name, "b is better", "tests", variants, (), "", 0.1, **definition),
        status="running",
        revision=revision,
        salt=f"salt of {name}",
        spans=spans,
        traffic=1.0,
        started_at_ms=1,
    )


def write_experiment(engine: sa.Engine, one: Experiment) -> None:
    """Put an experiment into the table, or in the place of what is there."""
    row = {
        "id": one.definition.id,
        "status": one.status,
        "revision": one.revision,
        "value": msgspec.json.encode(one).decode(),
        "updated_at_ms": one.revision,
    }
    with writing(engine) as connection:
        connection.execute(sa.delete(experiments_table).where(experiments_table.c.id == one.definition.id))
        connection.execute(sa.insert(experiments_table).values(row))


def write_defaults(engine: sa.Engine, patch: Patch, revision: int) -> None:
    """Make a patch the default of all pages."""
    with writing(engine) as connection:
        connection.execute(sa.delete(defaults_table))
        value = msgspec.json.encode(patch).decode()
        connection.execute(sa.insert(defaults_table).values(id=1, revision=revision, value=value))
