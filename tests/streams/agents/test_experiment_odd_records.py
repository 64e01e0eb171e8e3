"""Records that no client of ours would send, and that other producers may: none ends or misleads the agent."""

from __future__ import annotations

import msgspec
import pytest
import sqlalchemy as sa

from streams.event_log.protocol import Batch, Record
from streams.experiments.outcome_store import read_aggregates
from streams.topics import EXPOSURES, MEMBER_EVENTS
from tests.streams.agents.experiment_world import EPOCH, World, play, put
from tests.streams.experiments.world import START_MS, an_experiment, an_exposure

ODD_NOTICES = [
    b'{"member_id": "m", "event_time_ms": 99999999999999999999}',
    b'{"member_id": "m", "event_time_ms": -99999999999999999999}',
    b'{"member_id": "m\\u0000"}',
    b'{"member_id": "' + b"m" * 300 + b'"}',
    b'{"context": ' + b"[" * 9_000 + b"]" * 9_000 + b"}",
]

OUT_OF_BOUNDS: list[dict[str, object]] = [
    {"exposed_at_ms": 10**20},
    {"exposed_at_ms": -1},
    {"member_id": "m\x00"},
    {"member_id": "m" * 300},
    {"member_id": ""},
]


@pytest.fixture
def world(sql_engine: sa.Engine) -> World:
    put(sql_engine, an_experiment())
    return World(sql_engine)


@pytest.mark.parametrize("value", ODD_NOTICES, ids=["late", "early", "control", "long", "deep"])
def test_an_event_that_is_none_is_passed_by_and_the_next_one_counts(world: World, value: bytes) -> None:
    agent = world.agent()
    agent.process(world.exposed(an_exposure("m", "control", START_MS)))
    world.store(play(1, "m", START_MS + 1), play(2, "m", START_MS + 2))
    good = world.event_batch(1).records[0]
    agent.process(Batch(MEMBER_EVENTS, 0, EPOCH, [Record(0, good.timestamp_ms, b"m", value), good]))
    assert world.counted() == world.recomputed(an_experiment())
    newest_ms = read_aggregates(world.engine, "rows")[1]
    assert newest_ms is not None
    assert newest_ms <= good.timestamp_ms


@pytest.mark.parametrize("fields", OUT_OF_BOUNDS, ids=["late", "early", "control", "long", "empty"])
def test_an_exposure_with_values_out_of_bounds_is_put_aside(world: World, fields: dict[str, object]) -> None:
    agent = world.agent()
    good = world.exposed(an_exposure("n", "control", START_MS)).records[0]
    value = msgspec.json.encode({**msgspec.to_builtins(an_exposure("m", "control", START_MS)), **fields})
    agent.process(Batch(EXPOSURES, 0, EPOCH, [Record(0, good.timestamp_ms, b"m", value), good._replace(offset=1)]))
    assert len(world.letters.put) == 1
    assert world.counted() == world.recomputed(an_experiment())


def test_a_variant_that_the_experiment_does_not_have_is_no_exposure_in_it(world: World) -> None:
    agent = world.agent()
    agent.process(world.exposed(an_exposure("m", "unheard-of", START_MS), an_exposure("n", "v" * 300, START_MS)))
    assert world.counted() == world.recomputed(an_experiment()) == {}
    agent.process(world.exposed(an_exposure("m", "control", START_MS + 1)))
    counted = world.counted()
    assert counted == world.recomputed(an_experiment())
    assert sum(sums.members for cell, sums in counted.items() if cell.segment == "") == 1
