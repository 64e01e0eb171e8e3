"""Watchers killed with -9 at random moments while they ramp, look and stop: nothing is lost, and nothing done twice."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import sqlalchemy as sa

from serving.experiments.audit import Entry, read_audit
from serving.experiments.lifecycle import Start
from serving.experiments.looks import last_look, read_looks
from serving.experiments.roles import Actor
from serving.experiments.spans import LAYER, size_of
from serving.experiments.store import ExperimentStore
from serving.experiments.watching import run_watcher
from streams.experiments.aggregates import Aggregate, encode_sums
from streams.experiments.definition import Definition, Plan, RampStep
from streams.experiments.tables import aggregates_table, audit_table
from streams.settings import Settings
from streams.stores.sql import open_sql, upsert, writing
from tests.serving.experiments.aggregated import two_arms
from tests.serving.experiments.reports import definition_of

EDITOR = Actor("ann", "editor")
EACH = 6
"""Experiments that ramp, that are harmed, and that have planned looks."""

STARTED_S = 100
"""How long ago they were started: steps of a ramp are whole seconds after that."""

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
LIFE_S = 1.0
"""The longest life: of one that has less to write than it might."""

NEVER = -1
PATIENCE_S = 60.0


class World:
    """Experiments in a database, and what watchers have done with them."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.store = ExperimentStore(engine, lambda version: version)
        self.ramped = [f"ramped-{number}" for number in range(EACH)]
        self.harmed = [f"harmed-{number}" for number in range(EACH)]
        self.planned = [f"planned-{number}" for number in range(EACH)]

    def prepare(self, now_ms: int) -> None:
        """Start all experiments. Those that ramp have a step to take in each of the seconds to come."""
        steps = tuple(RampStep(STARTED_S + number if number else 0, share) for number, share in enumerate(SHARES))
        for name in self.ramped:
            self._start(definition_of(id=name, guardrails=(), ramp=steps), now_ms)
        for name in self.harmed:
            self._start(definition_of(id=name), now_ms)
        plan = Plan("group_sequential", planned_members=10_000, looks=2, min_days=0)
        for name in self.planned:
            self._start(definition_of(id=name, guardrails=(), plan=plan), now_ms)

    def _start(self, definition: Definition, now_ms: int) -> None:
        at_ms = now_ms - STARTED_S * 1_000
        self.store.create(definition, EDITOR, at_ms)
        self.store.act(definition.id, Start(), EDITOR, at_ms, random.Random(1))

    def measure(self, name: str, aggregates: Sequence[Aggregate]) -> None:
        """Put aggregates in, as the agent would."""
        with writing(self.engine) as connection:
            for cell, sums in aggregates:
                row = {"experiment": name, "partition": 0, **cell._asdict(), "value": encode_sums(sums)}
                connection.execute(upsert(self.engine, aggregates_table), row)

    def entries(self) -> int:
        with self.engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(audit_table)) or 0

    def is_seen_to(self) -> bool:
        return (
            all(self.store.read(name).traffic == 1.0 for name in self.ramped)
            and all(self.store.read(name).status == "stopped" for name in self.harmed)
            and all(self._last_taken(name) == 1.0 for name in self.planned)
        )

    def _last_taken(self, name: str) -> float:
        """Return the share of the plan at which the last planned look was taken."""
        look = last_look(self.engine, name)
        return round(look.planned[-1].fraction, 1) if look and look.planned else 0.0


def run_doomed_watcher(settings: Settings, step: int) -> None:
    """Run `marquee experiments watch`, killed with -9 at its so-manieth step of writing: before a statement that
    writes, before a commit, or right after one."""
    steps, wrote, committed = itertools.count(1), False, False

    def pass_by() -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    @sa.event.listens_for(sa.Engine, "before_cursor_execute")
    def execute(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal wrote, committed
        writes = statement.startswith(("INSERT", "UPDATE", "DELETE"))
        if writes or committed:
            pass_by()
        wrote, committed = wrote or writes, False

    @sa.event.listens_for(sa.Engine, "commit")
    def commit(_connection: object) -> None:
        nonlocal wrote, committed
        if wrote:
            pass_by()
        wrote, committed = False, wrote

    run_watcher(settings)


@contextmanager
def watchers(settings: Settings, steps: Sequence[int]) -> Iterator[Sequence[ForkServerProcess]]:
    """Run a watcher for each step that is its last; kill what is left of them with -9."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", run_watcher.__module__])  # what takes long to import
    processes = [context.Process(target=run_doomed_watcher, args=(settings, step)) for step in steps]
    for process in processes:
        process.start()
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.join()


def test_watchers_that_are_killed_lose_nothing_and_do_nothing_twice(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    rng = random.Random(seed)
    settings = Settings(state=tmp_path, experiment_watch_s=0.01)
    engine = open_sql(settings)
    world = World(engine)
    calm, harm = two_arms(1, 5_000), two_arms(1, 5_000, skips=1.3)
    half, whole = two_arms(2, 2_500), two_arms(2, 5_000)
    world.prepare(time.time_ns() // 1_000_000)
    for name in world.harmed:
        world.measure(name, calm)
    changes = {2: (world.harmed, harm), 4: (world.planned, half), 8: (world.planned, whole)}
    lives = kills = 0
    ends = time.monotonic() + PATIENCE_S
    while lives <= max(changes) or not world.is_seen_to():
        assert time.monotonic() < ends, seed
        names, aggregates = changes.get(lives, ([], []))
        for name in names:
            world.measure(name, aggregates)
        with watchers(settings, [rng.randint(1, 12) for _ in range(rng.choice([1, 1, 2]))]) as processes:
            for process in processes:
                process.join(LIFE_S)
            kills += sum(process.exitcode == -signal.SIGKILL for process in processes)
        lives += 1
    assert kills > 5, seed
    settled = world.entries()
    with watchers(settings, [NEVER, NEVER]):
        time.sleep(0.7)
    assert world.entries() == settled, (seed, "they act on what they have done already")
    for name in world.ramped:
        check_ramp(world, name)
    for name in world.harmed:
        check_stop(world, name)
    for name in world.planned:
        check_looks(world, name)
    engine.dispose()


def check_trail(world: World, name: str) -> list[Entry]:
    """Check that each revision has one entry, up to that of the experiment; return those of watchers."""
    entries = read_audit(world.engine, name)
    assert [entry.revision for entry in entries] == list(range(1, world.store.read(name).revision + 1))
    assert [entry.action for entry in entries[:2]] == ["create", "start"]
    assert {entry.actor for entry in entries[2:]} <= {"watcher"}
    return entries[2:]


def check_ramp(world: World, name: str) -> None:
    steps = check_trail(world, name)
    shares = [SHARES[0], *(step.detail["traffic"]["after"] for step in steps)]
    assert {step.action for step in steps} == {"ramp"}
    assert all(before < after for before, after in itertools.pairwise(shares))
    assert set(shares) <= set(SHARES)
    assert [step.detail["traffic"]["before"] for step in steps] == shares[:-1]
    assert size_of(world.store.read(name).spans) == LAYER


def check_stop(world: World, name: str) -> None:
    (stop,) = check_trail(world, name)
    assert stop.action == "stop"
    assert "% worse than a" in stop.detail["reason"]
    assert any(look.was_harmed("skips", "b") for look in read_looks(world.engine, name))


def check_looks(world: World, name: str) -> None:
    assert check_trail(world, name) == []
    taken = [look.planned for look in read_looks(world.engine, name)]
    assert all(after[: len(before)] == before for before, after in itertools.pairwise(taken)), (
        "a look is taken for good"
    )
    fractions = [round(each.fraction, 1) for each in taken[-1]]
    assert fractions in ([0.5, 1.0], [1.0]), "the first was missed only where nobody lived to take it"
