"""One chaos run: the fleet at work, a process killed at each random moment, and the comparison afterwards."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from load_tests.chaos.champion import put_champion
from load_tests.chaos.comparison import Comparison, compare
from load_tests.chaos.data import chaos_dataset
from load_tests.chaos.fleet import Fleet
from load_tests.chaos.visitor import Visitor
from load_tests.platform import free_port
from streams.agents.feature_agent import FeatureAgent
from streams.agents.shown_agent import ShownAgent
from streams.agents.warehouse_sink import WarehouseSink
from streams.catalogue import read_catalogue
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog, TopicPartition
from streams.settings import Settings
from streams.stores.open import open_durable, open_hot
from streams.stores.sql import open_sql

VICTIMS: Final = ("serve", "features", "sink", "producer")
GROUPS: Final = {agent.name: agent.topics for agent in (FeatureAgent, ShownAgent, WarehouseSink)}
SESSION_TIMEOUT_MS: Final = 3_000
MEAN_PAUSE_S: Final = 0.8
"""Between two faults; a killed process is back at work within about this, so faults meet every phase of it."""
CATCH_UP_TIMEOUT_S: Final = 120.0
VISITED_MEMBERS: Final = 200
EVENTS_PER_FAULT: Final = 1_000


@dataclass(frozen=True)
class ChaosReport:
    """faults: kills by process. answers, refused, failed: what a visitor of the homepage met (see Visitor)."""

    faults: Counter[str]
    comparison: Comparison
    answers: Counter[str]
    refused: int
    failed: Counter[int]


def run_chaos(
    state: Path, faults: int, seed: int, say: Callable[[str], None] = lambda _text: None, *, visits: bool = True
) -> ChaosReport:
    """Replay events through the platform in `state`, killing `faults` times; return what came of it.

    Raises RuntimeError if a process gives up by itself or the agents do not catch up.
    """
    rng = random.Random(seed)
    port, events = free_port(), max(4_000, faults * EVENTS_PER_FAULT)
    rate = events / max(4.0, faults * MEAN_PAUSE_S)
    dataset = chaos_dataset(events, seed)
    put_champion(Settings(state=state), dataset)
    fleet = _fleet(state, port, events, seed, rate)
    members = sorted({event.member_id for event in dataset.events})[:VISITED_MEMBERS]
    visitor = Visitor(f"http://127.0.0.1:{port}", members, seed)
    try:
        for name in VICTIMS:
            fleet.start(name)
        if visits:
            visitor.start()
        killed = _kill_at_random(fleet, faults, rng, say)
        say("waiting for the replay to end and the agents to catch up")
        if fleet.wait("producer", CATCH_UP_TIMEOUT_S) != 0:
            raise RuntimeError(f"the producer failed:\n{fleet.log_tail('producer')}")
        if visitor.is_alive():
            visitor.stop()
        fleet.stop("serve")
        _wait_for_agents(fleet, state)
    finally:
        if visitor.is_alive():
            visitor.stop()
        fleet.stop_all()
    return ChaosReport(killed, _compare(state), visitor.answers, visitor.refused, visitor.failed)


def _fleet(state: Path, port: int, events: int, seed: int, rate: float) -> Fleet:
    commands = {
        "serve": ["-m", "marquee", "serve"],
        "features": ["-m", "marquee", "agents", "features"],
        "sink": ["-m", "marquee", "agents", "sink"],
        "producer": ["-m", "load_tests.chaos.producer", str(events), str(seed), str(rate)],
    }
    environment = {
        "MARQUEE_STATE": str(state),
        "MARQUEE_PORT": str(port),
        "MARQUEE_SESSION_TIMEOUT_MS": str(SESSION_TIMEOUT_MS),
        "MARQUEE_WAREHOUSE_FLUSH_S": "1",
        "MARQUEE_WAREHOUSE_FLUSH_RECORDS": "500",
    }
    return Fleet(commands, environment, state / "logs")


def _kill_at_random(fleet: Fleet, faults: int, rng: random.Random, say: Callable[[str], None]) -> Counter[str]:
    killed: Counter[str] = Counter()
    for number in range(1, faults + 1):
        time.sleep(rng.expovariate(1 / MEAN_PAUSE_S))
        _check_alive(fleet)
        name = rng.choice(fleet.running())
        fleet.kill(name)
        killed[name] += 1
        say(f"{number}/{faults}: killed {name}")
        fleet.start(name)
    return killed


def _check_alive(fleet: Fleet) -> None:
    for name in VICTIMS:
        code = fleet.exit_code(name)
        if code is not None and (name, code) != ("producer", 0):
            raise RuntimeError(f"{name} ended by itself with {code}:\n{fleet.log_tail(name)}")


def _wait_for_agents(fleet: Fleet, state: Path) -> None:
    """Return once every group has committed to the end of every partition that it reads."""
    log = open_event_log(Settings(state=state))
    deadline = time.monotonic() + CATCH_UP_TIMEOUT_S
    while lag := _lag(log):
        for name in ("features", "sink"):
            if fleet.exit_code(name) is not None:
                raise RuntimeError(f"{name} ended by itself:\n{fleet.log_tail(name)}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"the agents are behind after {CATCH_UP_TIMEOUT_S:.0f} s: {lag}")
        time.sleep(0.1)
    log.close()


def _lag(log: EventLog) -> dict[str, int]:
    """Return the records that each group has not committed; empty when there are none."""
    lag: Counter[str] = Counter()
    for group, read in GROUPS.items():
        for topic in read:
            for partition in range(log.partition_count(topic)):
                committed = log.committed(group, TopicPartition(topic, partition)) or 0
                lag[group] += log.end_offset(topic, partition) - committed
    return {group: behind for group, behind in lag.items() if behind}


def _compare(state: Path) -> Comparison:
    settings = Settings(state=state)
    log, hot, durable = open_event_log(settings), open_hot(settings), open_durable(settings)
    try:
        catalogue = read_catalogue(open_sql(settings))
        return compare(log, catalogue, hot, durable, settings.path_of(settings.warehouse_url))
    finally:
        log.close()
        hot.close()
        durable.close()
