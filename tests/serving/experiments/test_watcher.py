"""The watcher ramps, looks and stops, on real databases; two of them, and one whose database dies, do no harm."""

from __future__ import annotations

import logging
import random
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from serving import metrics
from serving.experiments.audit import read_audit
from serving.experiments.lifecycle import Start
from serving.experiments.looks import MINUTE_MS, read_looks
from serving.experiments.roles import Actor
from serving.experiments.standing import Standings
from serving.experiments.store import ExperimentStore
from serving.experiments.watcher import Watcher, watch
from streams.agents.health import AgentHealth
from streams.errors import Corrupt, TryAgain
from streams.experiments.aggregates import Aggregate
from streams.experiments.definition import Definition, Guardrail, Plan, RampStep
from streams.settings import Settings
from streams.stores.sql import open_sql
from tests.serving.experiments.aggregated import two_arms
from tests.serving.experiments.reports import DAY_MS, START_MS, definition_of

EDITOR = Actor("ann", "editor")
NOW_MS = START_MS + 2 * DAY_MS


class Bench:
    """A watcher over a database, with aggregates put in by hand."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.aggregates: list[Aggregate] = []
        self.store = ExperimentStore(engine, lambda version: None)
        self.watcher = self.another()

    def another(self) -> Watcher:
        standings = Standings(self.engine, lambda *_: (self.aggregates, None))
        return Watcher(self.engine, self.store, standings, random.Random(1))

    def start(self, definition: Definition, at_ms: int = START_MS) -> None:
        self.store.create(definition, EDITOR, at_ms)
        self.store.act(definition.id, Start(), EDITOR, at_ms, random.Random(2))

    def actions(self) -> list[tuple[str, str]]:
        return [(entry.actor, entry.action) for entry in read_audit(self.engine, "rows")]


@pytest.fixture
def bench(sql_engine: sa.Engine) -> Bench:
    return Bench(sql_engine)


def test_a_ramp_is_followed_once_however_many_watch(bench: Bench) -> None:
    steps = (RampStep(0, 0.05), RampStep(3_600, 0.2), RampStep(7_200, 0.5))
    bench.start(definition_of(ramp=steps, traffic=0.5))
    other = bench.another()
    for hours, traffic in ((0.5, 0.05), (1.0, 0.2), (1.5, 0.2), (30.0, 0.5)):
        for watcher in (bench.watcher, other):
            watcher.tick(START_MS + round(hours * 3_600_000))
        assert bench.store.read("rows").traffic == traffic
    assert bench.actions() == [("ann", "create"), ("ann", "start"), ("watcher", "ramp"), ("watcher", "ramp")]


def test_a_guardrail_that_is_harmed_stops_the_experiment_with_the_numbers_as_reason(bench: Bench) -> None:
    bench.start(definition_of())
    bench.aggregates = two_arms(1, 5_000)
    bench.watcher.tick(NOW_MS)
    assert bench.store.read("rows").status == "running"
    bench.aggregates = two_arms(1, 5_000, skips=1.3)
    other = bench.another()
    bench.watcher.tick(NOW_MS + MINUTE_MS)
    other.tick(NOW_MS + MINUTE_MS + 1)
    assert bench.store.read("rows").status == "stopped"
    stops = [entry for entry in read_audit(bench.engine, "rows") if entry.action == "stop"]
    assert [entry.actor for entry in stops] == ["watcher"]
    assert "% worse than a" in stops[0].detail["reason"]


def test_a_guardrail_that_does_not_stop_is_only_reported(bench: Bench) -> None:
    bench.start(definition_of(guardrails=(Guardrail("skips", 0.01, stops=False),)))
    bench.aggregates = two_arms(2, 5_000, skips=1.3)
    bench.watcher.tick(NOW_MS)
    assert bench.store.read("rows").status == "running"
    assert read_looks(bench.engine, "rows")[-1].was_harmed("skips", "b")


def test_nothing_is_decided_or_shipped_however_good(bench: Bench) -> None:
    bench.start(definition_of())
    bench.aggregates = two_arms(3, 20_000, plays=3.0, skips=0.5)
    bench.watcher.tick(START_MS + 40 * DAY_MS)
    assert bench.store.read("rows").status == "running"
    assert read_looks(bench.engine, "rows")[-1].verdict == "ship"


def test_looks_are_kept_when_data_change_once_a_minute(bench: Bench) -> None:
    bench.start(definition_of())
    bench.watcher.tick(NOW_MS)
    assert read_looks(bench.engine, "rows") == []
    bench.aggregates = two_arms(4, 100)
    for seconds in (1, 2, 30, 120):
        bench.watcher.tick(NOW_MS + seconds * 1_000)
    assert [look.at_ms - NOW_MS for look in read_looks(bench.engine, "rows")] == [1_000]
    bench.aggregates = two_arms(4, 200)
    for seconds in (121, 122, 123):
        bench.watcher.tick(NOW_MS + seconds * 1_000)
    assert [look.at_ms - NOW_MS for look in read_looks(bench.engine, "rows")] == [1_000, 121_000]


def test_a_planned_look_is_taken_once_by_two_watchers(bench: Bench) -> None:
    plan = Plan("group_sequential", planned_members=10_000, looks=2, min_days=0)
    bench.start(definition_of(plan=plan, guardrails=()))
    bench.aggregates = two_arms(5, 2_600)
    other = bench.another()
    for number, watcher in enumerate((bench.watcher, other, bench.watcher, other)):
        watcher.tick(NOW_MS + number)
    looks = read_looks(bench.engine, "rows")
    assert [len(look.planned) for look in looks] == [1]
    bench.aggregates = two_arms(5, 5_000)
    other.tick(NOW_MS + 10)
    assert [round(each.fraction, 2) for each in read_looks(bench.engine, "rows")[-1].planned] == [0.52, 1.0]


def test_a_planned_look_that_cannot_be_kept_is_not_taken(bench: Bench) -> None:
    """Whoever decides by it with a clock that is behind would spend alpha that nobody knows of."""
    plan = Plan("group_sequential", planned_members=10_000, looks=2, min_days=0)
    bench.start(definition_of(plan=plan, guardrails=()))
    bench.aggregates = two_arms(5, 100)
    bench.watcher.tick(NOW_MS + 1_000)
    bench.aggregates = two_arms(5, 5_000, plays=3.0)
    standings = Standings(bench.engine, lambda *_: (bench.aggregates, None))
    behind = standings.take_look(bench.store.read("rows"), NOW_MS)
    assert (behind.report.planned, behind.decision.verdict) == ((), "continue")
    in_time = standings.take_look(bench.store.read("rows"), NOW_MS + 1_001)
    assert in_time.report.planned == read_looks(bench.engine, "rows")[-1].planned != ()
    assert in_time.decision.verdict == "ship"


def test_a_mismatch_is_shown_and_gone_with_the_experiment(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.start(definition_of())
    lossy = two_arms(6, 9_000)
    bench.aggregates = [lossy[0], *two_arms(7, 7_000)[1:]]
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            bench.watcher.tick(NOW_MS + number)
    assert sum("declared shares" in record.message for record in caplog.records) == 1
    assert metrics.EXPERIMENT_SRM.labels("rows")._value.get() == 1.0
    assert bench.store.read("rows").status == "running"
    bench.watcher._forget_but(set())
    assert not any("rows" in sample.labels.values() for sample in _samples())


def _samples() -> list[object]:
    return [sample for metric in metrics.EXPERIMENT_SRM.collect() for sample in metric.samples]


def test_one_experiment_at_fault_does_not_keep_others_from_being_seen_to(bench: Bench) -> None:
    bench.start(definition_of(id="faulty"))
    bench.start(definition_of(guardrails=()))

    def read(_engine: sa.Engine, name: str, _with_segments: bool) -> tuple[list[Aggregate], None]:
        if name == "faulty":
            raise Corrupt("aggregates cannot be read")
        return bench.aggregates, None

    bench.aggregates = two_arms(8, 1_000)
    watcher = Watcher(bench.engine, bench.store, Standings(bench.engine, read), random.Random(1))
    watcher.tick(NOW_MS)
    assert len(read_looks(bench.engine, "rows")) == 1


def test_a_dead_database_is_waited_for_and_then_seen_to(tmp_path: Path) -> None:
    folder = tmp_path / "away"
    settings = Settings(state=folder)
    engine = open_sql(settings)
    bench = Bench(engine)
    bench.start(definition_of(ramp=(RampStep(0, 0.1), RampStep(60, 1.0))))
    engine.dispose()
    database = settings.path_of(settings.sql_url)
    hidden = database.rename(tmp_path / "hidden.db")
    for suffix in ("-wal", "-shm"):
        beside = database.with_name(database.name + suffix)
        if beside.exists():
            beside.rename(hidden.with_name(hidden.name + suffix))
    database.mkdir()
    with pytest.raises(TryAgain):
        bench.watcher.tick(NOW_MS)
    stopped, ticks = threading.Event(), []

    def clock() -> int:
        ticks.append(1)
        if len(ticks) == 2:
            database.rmdir()
            hidden.rename(database)
        if len(ticks) == 3:
            stopped.set()
        return NOW_MS

    before = metrics.WATCHER_ERRORS.labels("TryAgain")._value.get()
    health = AgentHealth()
    watch(bench.watcher, stopped, 0.0, clock, health)
    assert health.is_ready()
    assert metrics.WATCHER_ERRORS.labels("TryAgain")._value.get() == before + 1
    assert bench.store.read("rows").traffic == 1.0
    engine.dispose()


def test_no_surprise_ends_the_loop(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    stopped, calls, health = threading.Event(), list[int](), AgentHealth()

    def clock() -> int:
        calls.append(1)
        if len(calls) == 3:
            stopped.set()
        raise RuntimeError("no clock")

    with caplog.at_level(logging.ERROR):
        watch(bench.watcher, stopped, 0.0, clock, health)
    assert len(calls) == 3
    assert not health.is_ready()


def test_an_experiment_that_ends_while_it_is_seen_to_is_left_alone(bench: Bench) -> None:
    bench.start(definition_of())
    read = bench.store.read("rows")
    bench.aggregates = two_arms(9, 5_000, skips=1.4)
    stale = replace(read, revision=read.revision - 1)
    bench.watcher._see_to(stale, NOW_MS)
    assert bench.store.read("rows") == read
