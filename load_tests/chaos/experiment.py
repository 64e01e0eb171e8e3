"""An experiment that runs through a chaos run, so that its exposures and outcomes are struck, too."""

from __future__ import annotations

import time
from typing import Final

import msgspec

from streams.experiments.definition import Definition, Experiment, Patch, Plan, Span, Variant
from streams.experiments.metric import Measure, Metric
from streams.experiments.tables import experiments_table
from streams.settings import Settings
from streams.stores.sql import open_sql, upsert, writing

NAME: Final = "chaos"
PLAY: Final = Measure(("play",))
LONG_S: Final = 20 * 365 * 86_400
"""The events of a run are years old: they count in the time before the exposure, and that has to be so long."""

DEFINITION: Final = Definition(
    id=NAME,
    hypothesis="Nothing of this is lost or counted twice.",
    owner="chaos",
    variants=(Variant("control", 0.5), Variant("fewer", 0.5, Patch(params={"genre_rows": 1}))),
    metrics=(
        Metric("plays", "count", PLAY),
        Metric("watched", "sum", Measure(("play",), of="value")),
        Metric("completion", "ratio", Measure(("complete",)), per=PLAY),
    ),
    primary="plays",
    mde=0.05,
    plan=Plan(pre_period_s=LONG_S),
)


def put_experiment(settings: Settings) -> None:
    """Put it into the database as one that runs; the store of experiments refuses a covariate of twenty years."""
    everyone = (Span(0, 1 << 64),)
    now_ms = time.time_ns() // 1_000_000
    running = Experiment(DEFINITION, "running", salt=NAME, spans=everyone, traffic=1.0, started_at_ms=now_ms)
    row = {"id": NAME, "status": running.status, "revision": running.revision, "updated_at_ms": now_ms}
    engine = open_sql(settings)
    with writing(engine) as connection:
        value = msgspec.json.encode(running).decode()
        connection.execute(upsert(engine, experiments_table), {**row, "value": value})
    engine.dispose()
