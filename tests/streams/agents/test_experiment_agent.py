"""The experiment agent: whatever order, repetition and crashes records come with, it counts what the warehouse has."""

from __future__ import annotations

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.agents.experiment_agent import GROUP, ExperimentAgent
from streams.agents.protocol import NotYet
from streams.errors import Fenced, TryAgain
from streams.event_log.epochs import first_epoch
from streams.event_log.protocol import Batch, Record
from streams.experiments.aggregates import Cell, Sums
from streams.experiments.definition import Status
from streams.experiments.following import LATE_MS
from streams.experiments.outcome_store import OutcomeStore, forget_outcomes, read_aggregates
from streams.experiments.tables import aggregates_table, experiments_table, members_table
from streams.positions import pack_position
from streams.settings import Settings
from streams.stores.sql import open_sql, reading, writing
from streams.topics import EXPOSURES
from tests.streams.agents.experiment_world import EPOCH, EVENTS, SEEN, LogOf, World, play, put
from tests.streams.experiments.world import DAY_MS, START_MS, an_experiment, an_exposure


@pytest.fixture
def world(sql_engine: sa.Engine) -> World:
    return World(sql_engine)


def test_what_members_do_after_their_exposure_is_counted(world: World) -> None:
    put(world.engine, an_experiment())
    agent = world.agent()
    agent.process(world.store(play(1, "m", START_MS - 1), play(2, "other", START_MS + 5)))
    agent.process(world.exposed(an_exposure("m", "treatment", START_MS)))
    agent.process(world.store(play(3, "m", START_MS + 7), play(4, "other", START_MS + 8)))
    counted = world.counted()
    sums = counted[Cell("treatment", START_MS // DAY_MS, "fresh", "")]
    assert (sums.members, sums.moments["plays"].mean(0), sums.moments["plays"].mean(2)) == (1, 1.0, 1.0)
    assert counted == world.recomputed(an_experiment())
    assert read_aggregates(world.engine, "rows")[1] == START_MS + 8


def test_events_wait_until_the_feature_agent_has_stored_them(world: World) -> None:
    put(world.engine, an_experiment())
    agent = world.agent()
    agent.process(world.exposed(an_exposure("m", "control", START_MS)))
    world.store(play(1, "m", START_MS + 1))
    world.events.append(play(2, "m", START_MS + 2))
    with pytest.raises(NotYet):
        agent.process(world.event_batch(0))
    assert agent.flush(1)[EVENTS] == 1
    world.events.pop()
    world.store(play(2, "m", START_MS + 2))
    agent.process(world.event_batch(0))
    assert world.counted() == world.recomputed(an_experiment())


def test_an_exposure_waits_for_the_events_that_the_log_had_when_it_was_seen(world: World) -> None:
    put(world.engine, an_experiment())
    agent = world.agent()
    world.events.append(play(1, "m", START_MS - 1))
    exposed = world.exposed(an_exposure("m", "control", START_MS))
    with pytest.raises(NotYet):
        agent.process(exposed)
    assert world.counted() == {}
    world.store(*[world.events.pop()])
    world.events.append(play(2, "other", START_MS + 1))
    agent.process(exposed)
    assert world.counted() == world.recomputed(an_experiment())


def test_while_no_experiment_runs_events_are_passed_by_without_waiting(world: World) -> None:
    agent = world.agent()
    world.events.append(play(1, "m", START_MS - 1))
    agent.process(world.event_batch(0))
    assert agent.flush(10_000) == {EVENTS: 1}


def test_a_member_of_two_variants_is_taken_out_and_counted_as_that(world: World) -> None:
    put(world.engine, an_experiment())
    agent = world.agent()
    agent.process(world.store(play(1, "m", START_MS + 5)))
    agent.process(world.exposed(an_exposure("m", "control", START_MS + 2), an_exposure("m", "treatment", START_MS)))
    assert world.counted() == {Cell("treatment", START_MS // DAY_MS, "fresh", ""): Sums(crossed=1)}
    assert world.counted() == world.recomputed(an_experiment())


def test_testers_and_experiments_that_are_not_there_count_nothing(world: World) -> None:
    put(world.engine, an_experiment())
    agent = world.agent()
    forced = msgspec.structs.replace(an_exposure("m", "control", START_MS), forced=True)
    agent.process(world.exposed(forced, an_exposure("m", "control", START_MS, experiment="gone")))
    assert world.counted() == world.recomputed(an_experiment()) == {}


def test_an_exposure_that_cannot_be_read_is_put_aside_and_the_next_one_counts(world: World) -> None:
    put(world.engine, an_experiment())
    agent = world.agent()
    good = world.exposed(an_exposure("m", "control", START_MS))
    bad = Record(0, START_MS, b"m", b"{")
    agent.process(Batch(EXPOSURES, 0, EPOCH, [bad, good.records[0]._replace(offset=1)]))
    assert world.letters.reasons == ["malformed"]
    assert sum(sums.members for cell, sums in world.counted().items() if cell.segment == "") == 1


def test_what_came_after_the_stop_is_taken_out_though_it_was_counted_before_the_stop_was_known(world: World) -> None:
    put(world.engine, an_experiment())
    agent = world.agent()
    agent.process(
        world.exposed(an_exposure("m", "control", START_MS), an_exposure("late", "control", START_MS + DAY_MS))
    )
    agent.process(world.store(play(1, "m", START_MS + 1), play(2, "m", START_MS + DAY_MS)))
    stopped = an_experiment(status="stopped", stopped_at_ms=START_MS + 10, revision=2)
    put(world.engine, stopped)
    agent.process(world.store(play(3, "other", START_MS + 3)))
    assert world.counted() == world.recomputed(stopped)
    assert world.counted()[Cell("control", START_MS // DAY_MS, "fresh", "")].moments["plays"].mean(0) == 1.0


@pytest.mark.parametrize("status", ["decided", "promoted", "archived"])
def test_what_was_told_before_a_decision_and_is_read_after_it_counts(world: World, status: Status) -> None:
    put(world.engine, an_experiment())
    agent = world.agent()
    exposed = world.exposed(an_exposure("m", "control", START_MS), an_exposure("n", "treatment", START_MS))
    played = world.store(play(1, "m", START_MS + 1), play(2, "n", START_MS + DAY_MS))
    ended = an_experiment(status=status, stopped_at_ms=START_MS + 10, revision=2)
    put(world.engine, ended)
    agent.process(exposed)
    agent.process(played)
    assert world.counted() == world.recomputed(ended)
    assert sum(sums.members for cell, sums in world.counted().items() if cell.segment == "") == 2


def test_long_after_its_stop_an_experiment_costs_nothing_more(world: World) -> None:
    stopped = an_experiment(status="stopped", stopped_at_ms=START_MS - LATE_MS + DAY_MS)
    put(world.engine, stopped)
    agent = world.agent()
    agent.process(world.exposed(an_exposure("m", "control", stopped.stopped_at_ms - 1)))
    assert world.counted() == {}


def test_who_crossed_only_after_the_stop_has_not_crossed(world: World) -> None:
    put(world.engine, an_experiment())
    agent = world.agent()
    agent.process(
        world.exposed(an_exposure("m", "control", START_MS), an_exposure("m", "treatment", START_MS + DAY_MS))
    )
    assert sum(sums.crossed for sums in world.counted().values()) == 1
    stopped = an_experiment(status="stopped", stopped_at_ms=START_MS + 10, revision=2)
    put(world.engine, stopped)
    agent.process(world.store(play(1, "m", START_MS + 1)))
    assert world.counted() == world.recomputed(stopped)
    assert world.counted()[Cell("control", START_MS // DAY_MS, "fresh", "")].members == 1


def test_an_owner_who_was_overtaken_is_fenced_and_counts_nothing(world: World) -> None:
    put(world.engine, an_experiment())
    zombie, heir = world.agent(), world.agent()
    batch = world.exposed(an_exposure("m", "control", START_MS))
    heir.process(batch)
    before = world.counted()
    with pytest.raises(Fenced):
        zombie.process(batch)
    assert world.counted() == before


def test_a_forgotten_member_is_taken_out(world: World) -> None:
    put(world.engine, an_experiment())
    agent = world.agent()
    agent.process(world.exposed(an_exposure("m", "control", START_MS), an_exposure("n", "control", START_MS)))
    assert forget_outcomes(world.engine, {"rows": an_experiment().definition}, "m") == 1
    world.exposures = [each for each in world.exposures if each.member_id != "m"]
    assert world.counted() == world.recomputed(an_experiment())
    with reading(world.engine) as connection:
        assert connection.scalars(sa.select(members_table.c.member_id)).all() == ["n"]


def test_partitions_without_anything_to_count_are_noted_now_and_then(world: World) -> None:
    agent = world.agent()
    agent.process(world.store(play(1, "m", START_MS)))
    assert agent.flush(10_000) == {EVENTS: 1}
    assert OutcomeStore(world.engine, GROUP).position(EVENTS) == pack_position(EPOCH, 0)
    assert world.agent().assigned([EVENTS, SEEN]) == {EVENTS: 1, SEEN: 0}


def test_of_a_log_that_was_lost_nothing_is_committed_before_it_is_counted(world: World) -> None:
    put(world.engine, an_experiment())
    before = world.agent()
    before.process(world.exposed(an_exposure("m", "control", START_MS), an_exposure("n", "control", START_MS)))
    assert before.flush(10_000)[SEEN] == 2
    new = LogOf(world.events, epoch=EPOCH + 1)
    agent = ExperimentAgent(world.engine, world.durable, new, world.letters)
    assert agent.assigned([EVENTS, SEEN])[SEEN] == 0
    assert agent.flush(10_000) == {}
    agent.process(world.exposure_batch(0, 1)._replace(epoch=EPOCH + 1))
    assert agent.flush(20_000) == {SEEN: 1}


class LogMadeAnew(LogOf):
    """A log that counts its epochs from the first again, until it is told of what was before."""

    def raise_epoch(self, topic: str, above: int) -> None:
        self._epochs = first_epoch(above + 1, 1)


def test_a_log_that_counts_its_epochs_anew_is_told_of_what_was_counted_of_the_lost_one(world: World) -> None:
    put(world.engine, an_experiment())
    world.log = LogOf(world.events, epoch=EPOCH + 1)
    before = world.agent()
    exposed = world.exposed(an_exposure("m", "control", START_MS), an_exposure("n", "control", START_MS))
    before.process(exposed._replace(epoch=EPOCH + 1))
    new = LogMadeAnew(world.events)
    agent = ExperimentAgent(world.engine, world.durable, new, world.letters)
    assert agent.assigned([EVENTS, SEEN])[SEEN] == 0
    world.exposures.append(an_exposure("o", "control", START_MS))
    agent.process(world.exposure_batch(2)._replace(epoch=new.epochs(EXPOSURES)[-1].epoch))
    assert world.counted() == world.recomputed(an_experiment())


@pytest.mark.parametrize("table", [experiments_table, members_table, aggregates_table])
def test_a_row_that_cannot_be_read_has_the_agent_wait_until_it_is_put_right(world: World, table: sa.Table) -> None:
    put(world.engine, an_experiment())
    agent = world.agent()
    agent.process(world.exposed(an_exposure("m", "control", START_MS)))
    played = world.store(play(1, "m", START_MS + 1))
    with writing(world.engine) as connection:
        right = {tuple(row) for row in connection.execute(sa.select(table))}
        changes = {"value": "{", **({"revision": 99} if table is experiments_table else {})}
        connection.execute(sa.update(table).values(**changes))
    for _ in range(2):
        with pytest.raises(TryAgain, match="cannot be read"):
            agent.process(played)
    with writing(world.engine) as connection:
        connection.execute(sa.delete(table))
        names = [column.name for column in table.columns]
        connection.execute(sa.insert(table), [dict(zip(names, row, strict=True)) for row in sorted(right)])
    agent.process(played)
    assert world.counted() == world.recomputed(an_experiment())


class Cut(Exception):  # noqa: N818 - what kill -9 does, not an error of ours
    """The process died."""


steps = st.lists(
    st.tuples(
        st.sampled_from(["event", "exposure", "restart", "cut", "repeat"]),
        st.integers(0, 5),
        st.integers(-3 * DAY_MS, 3 * DAY_MS),
        st.sampled_from(["control", "treatment"]),
        st.sampled_from(["play", "complete", "rate"]),
    ),
    max_size=25,
)


@settings(max_examples=40)
@given(steps)
def test_whatever_happens_the_aggregates_are_those_of_the_warehouse(
    tmp_path_factory: pytest.TempPathFactory, happened: list[tuple[str, int, int, str, str]]
) -> None:
    engine = open_sql(Settings(state=tmp_path_factory.mktemp("world")))
    put(engine, an_experiment())
    world = World(engine)
    agent = world.agent()
    for number, (what, member, after_ms, variant, kind) in enumerate(happened):
        name, at_ms = f"m{member}", START_MS + after_ms
        if what == "event":
            world.store(play(number, name, at_ms, kind))
        elif what == "exposure":
            usual = variant if member == 0 else ("control", "treatment")[member % 2]
            world.exposed(an_exposure(name, usual, max(at_ms, START_MS)))
        elif what == "cut":
            _die_in_a_transaction(world, agent)
            agent = world.agent()
        elif what == "restart":
            agent.close()
            agent = world.agent()
        if what != "event" or number % 2:
            agent.process(world.exposure_batch(0))
            agent.process(world.event_batch(0))
    agent.process(world.exposure_batch(0))
    agent.process(world.event_batch(0))
    assert world.counted() == world.recomputed(an_experiment())
    engine.dispose()


def _die_in_a_transaction(world: World, agent: ExperimentAgent) -> None:
    """Have the agent die after everything was written, before the transaction ended."""
    with pytest.MonkeyPatch.context() as patch:

        def die(*_: object) -> None:
            raise Cut

        patch.setattr("streams.experiments.outcome_store.Counting.note_newest", die)
        try:
            agent.process(world.exposure_batch(0))
            agent.process(world.event_batch(0))
        except Cut:
            pass
