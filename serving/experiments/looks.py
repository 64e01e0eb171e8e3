"""Looks at an experiment, kept: for results over time, for what earlier looks found for good, and for planned looks.

Each look is stored only on top of the last one, so that two watchers (or a watcher and a person who decides) never both
count as the same planned look. With age they are thinned to a grid in time; planned looks stay.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

import msgspec
import sqlalchemy as sa

from serving.experiments.report import EffectResult, GuardrailResult, PlannedLook, Report
from streams.errors import Corrupt
from streams.experiments.definition import Verdict
from streams.experiments.tables import looks_table
from streams.stores.sql import reading, writing

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS

GRID: Final = ((HOUR_MS, MINUTE_MS), (DAY_MS, 15 * MINUTE_MS), (8 * DAY_MS, 2 * HOUR_MS), (None, DAY_MS))
"""Looks up to so old, one in so much time: about 600 in a year, and dense where somebody still watches."""


class Look(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was seen at one time: effects and guardrails without their sentences.

    srm_p_value: the smallest of all looks. mark: of the data, so that a look that would say the same is not stored.
    """

    at_ms: int
    members: int
    verdict: Verdict
    srm_p_value: float = 1.0
    effects: tuple[EffectResult, ...] = ()
    guardrails: tuple[GuardrailResult, ...] = ()
    planned: tuple[PlannedLook, ...] = ()
    mark: str = ""

    def effect(self, metric: str, variant: str) -> EffectResult | None:
        """Return a treatment's effect on a metric as this look saw it."""
        return next((each for each in self.effects if (each.metric, each.variant) == (metric, variant)), None)

    def was_harmed(self, metric: str, variant: str) -> bool:
        """Return whether harm was sure by this look."""
        return any((each.metric, each.variant, each.harm) == (metric, variant, "harmed") for each in self.guardrails)


_decoder: Final = msgspec.json.Decoder(Look)
"""Made here: msgspec 0.22 crashes the process where two threads meet a type for the first time at once."""


def look_of(report: Report, verdict: Verdict, mark: str) -> Look:
    """Return what is kept of a report."""
    effects = (effect for metric in report.metrics for effect in metric.effects)
    return Look(
        at_ms=report.at_ms,
        members=report.members,
        verdict=verdict,
        srm_p_value=report.srm.p_value,
        effects=tuple(msgspec.structs.replace(effect, sentence="") for effect in effects),
        guardrails=tuple(msgspec.structs.replace(guardrail, sentence="") for guardrail in report.guardrails),
        planned=report.planned,
        mark=mark,
    )


def read_looks(engine: sa.Engine, experiment: str) -> list[Look]:
    """Return an experiment's looks, the oldest first. Raises TryAgain when the database is away, Corrupt."""
    select = sa.select(looks_table.c.value).where(looks_table.c.experiment == experiment)
    with reading(engine) as connection:
        values = connection.scalars(select.order_by(looks_table.c.at_ms)).all()
    return [_decode(value) for value in values]


def last_look(engine: sa.Engine, experiment: str) -> Look | None:
    """Return an experiment's newest look, None before the first. Raises TryAgain when the database is away, Corrupt."""
    select = sa.select(looks_table.c.value).where(looks_table.c.experiment == experiment)
    with reading(engine) as connection:
        value = connection.scalar(select.order_by(looks_table.c.at_ms.desc()).limit(1))
    return None if value is None else _decode(value)


def store_look(engine: sa.Engine, experiment: str, look: Look, last: Look | None) -> bool:
    """Store a look on top of the one that it was computed from; return False if another came in between.

    Looks that the grid has no place for any more go in the same transaction. Raises TryAgain when the database is away.
    """
    table, at_ms = looks_table, None if last is None else last.at_ms
    own = table.c.experiment == experiment
    with writing(engine, f"looks {experiment}") as connection:
        times = list(connection.scalars(sa.select(table.c.at_ms).where(own).order_by(table.c.at_ms)))
        if (times[-1] if times else None) != at_ms or (at_ms is not None and look.at_ms <= at_ms):
            return False
        connection.execute(
            sa.insert(table).values(experiment=experiment, at_ms=look.at_ms, value=msgspec.json.encode(look).decode())
        )
        if old := outdated([*times, look.at_ms], {each.at_ms for each in look.planned}, look.at_ms):
            connection.execute(sa.delete(table).where(own, table.c.at_ms.in_(old)))
    return True


def outdated(times_ms: Iterable[int], kept: Collection[int], now_ms: int) -> list[int]:
    """Return the looks that are not the first in their place of the grid, `kept` ones and the newest left out.

    times_ms: in order. The grid is fixed in time, so that looks dropped now or later leave the same ones.
    """
    times = list(times_ms)
    dropped, taken = list[int](), set[tuple[int, int]]()
    for at_ms in times[:-1]:
        place = _place(at_ms, now_ms)
        if place in taken and at_ms not in kept:
            dropped.append(at_ms)
        taken.add(place)
    return dropped


def _place(at_ms: int, now_ms: int) -> tuple[int, int]:
    step = next(step for age_ms, step in GRID if age_ms is None or now_ms - at_ms < age_ms)
    return step, at_ms // step


def _decode(value: str) -> Look:
    try:
        return _decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"a look at an experiment in the database cannot be read: {error}") from error
