"""Experiments that were stopped are counted to their end, whoever counts meanwhile, however many members they had."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import sqlalchemy as sa

from streams.agents import experiment_settling
from streams.agents.experiment_agent import GROUP, ExperimentAgent
from streams.errors import TryAgain
from streams.experiments.definition import Experiment
from streams.experiments.outcome_store import OutcomeStore
from tests.streams.agents.experiment_world import World, play, put
from tests.streams.experiments.world import DAY_MS, START_MS, an_experiment, an_exposure

STOPPED = an_experiment(status="stopped", stopped_at_ms=START_MS + 10, revision=2)


@pytest.fixture
def world(sql_engine: sa.Engine) -> World:
    put(sql_engine, an_experiment())
    return World(sql_engine)


def settled(world: World) -> bool:
    with OutcomeStore(world.engine, GROUP).counting() as counting:
        return counting.is_settled("rows")


def stop_once_it_has_looked(monkeypatch: pytest.MonkeyPatch, agent: ExperimentAgent, other: World) -> None:
    """Have the experiment be stopped, and settled by another owner, right after an agent has read the definitions."""
    refresh, heir = agent._followed.refresh, other.agent()

    def then_stop() -> Mapping[str, Experiment]:
        found = refresh()
        put(other.engine, STOPPED)
        heir.flush(10_000)
        assert settled(other)
        return found

    monkeypatch.setattr(agent._followed, "refresh", then_stop)


def test_an_owner_who_has_not_heard_of_the_stop_counts_nothing_past_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = world.agent()
    agent.process(world.exposed(an_exposure("m", "control", START_MS)))
    ahead = world.store(play(1, "m", START_MS + 5), play(2, "m", START_MS + 11))
    stop_once_it_has_looked(monkeypatch, agent, world)
    agent.process(ahead)
    assert world.counted() == world.recomputed(STOPPED)


def test_who_is_seen_past_the_stop_by_an_owner_who_has_not_heard_of_it_is_no_member(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = world.agent()
    late = world.exposed(an_exposure("m", "control", START_MS), an_exposure("late", "control", START_MS + 10))
    stop_once_it_has_looked(monkeypatch, agent, world)
    agent.process(late)
    assert world.counted() == world.recomputed(STOPPED)


def test_an_experiment_is_counted_to_its_end_though_nothing_more_is_told(world: World) -> None:
    agent = world.agent()
    agent.process(world.exposed(an_exposure("m", "control", START_MS)))
    agent.process(world.store(play(1, "m", START_MS + DAY_MS)))
    put(world.engine, STOPPED)
    agent.flush(10_000)
    assert world.counted() == world.recomputed(STOPPED)


def test_however_many_members_an_experiment_had_a_turn_counts_some_of_them_and_the_next_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = world.agent()
    agent.process(world.exposed(*(an_exposure(f"m{n}", "control", START_MS) for n in range(7))))
    agent.process(world.store(*(play(n, f"m{n}", START_MS + DAY_MS) for n in range(7))))
    put(world.engine, STOPPED)
    monkeypatch.setattr(experiment_settling, "MEMBERS_AT_ONCE", 1)
    monkeypatch.setattr(experiment_settling, "TRANSACTIONS_A_TURN", 3)
    history, read = world.durable.history, list[str]()

    def counting_reads(member_id: str, limit: int) -> list[object]:
        read.append(member_id)
        if read == ["m0", "m1", "m2", "m3", "m4"]:
            raise TryAgain("away")
        return history(member_id, limit)  # type: ignore[return-value] - what it returns is passed on

    monkeypatch.setattr(world.durable, "history", counting_reads)
    agent.flush(10_000)
    assert read == ["m0", "m1", "m2"]
    with pytest.raises(TryAgain):
        agent.flush(20_000)
    for turn in range(3, 6):
        agent.flush(turn * 10_000)
    assert read == ["m0", "m1", "m2", "m3", "m4", "m4", "m5", "m6"]
    assert settled(world)
    assert world.counted() == world.recomputed(STOPPED)
