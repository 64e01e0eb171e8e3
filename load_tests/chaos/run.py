"""One chaos run: a platform at work, faults at random moments, and the comparison afterwards."""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from load_tests.chaos.champion import put_champion
from load_tests.chaos.comparison import Comparison, compare
from load_tests.chaos.data import chaos_dataset
from load_tests.chaos.experiment import put_experiment
from load_tests.chaos.faults import Fault, deal
from load_tests.chaos.fleet import Fleet
from load_tests.chaos.grounds import Ground
from load_tests.chaos.visitor import Visitor
from marquee.listening import BACKLOG
from streams.agents.experiment_agent import ExperimentAgent
from streams.agents.feature_agent import FeatureAgent
from streams.agents.shown_agent import ShownAgent
from streams.agents.warehouse_sink import WarehouseSink
from streams.catalogue import GRACE_MS, publish_titles, read_catalogue
from streams.errors import MarqueeError
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog, TopicPartition
from streams.features.replay import feature_versions
from streams.importers.dataset import Dataset
from streams.settings import Settings
from streams.stores.serving import open_serving_stores
from streams.stores.sql import open_sql

STARTED: Final = ("serve", "features-1", "sink-1", "experiments-1", "producer")
GROUPS: Final = {agent.name: agent.topics for agent in (FeatureAgent, ShownAgent, WarehouseSink, ExperimentAgent)}
CATCH_UP_TIMEOUT_S: Final = 240.0
VISITED_MEMBERS: Final = 200
MIN_EVENTS: Final = 4_000


@dataclass(frozen=True)
class ChaosReport:
    """faults: by name. The rest is what a visitor of the homepage met (see Visitor)."""

    faults: Counter[str]
    comparison: Comparison
    answers: Counter[str]
    degraded: Counter[str]
    cut: int
    unanswered: int
    failed: Counter[int]
    untrue: list[str]

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, counted twice, answered wrongly or not answered."""
        return not (self.comparison.differences or self.failed or self.unanswered or self.untrue)


def run_chaos(ground: Ground, faults: int, seed: int, say: Callable[[str], None] = lambda _text: None) -> ChaosReport:
    """Replay events through a platform, strike it `faults` times; return what came of it.

    Raises RuntimeError if a process gives up by itself, the agents do not catch up, or pages do not get fresh again.
    """
    rng = random.Random(seed)
    listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
    events = max(MIN_EVENTS, faults * ground.events_per_fault)
    rate = events / max(4.0, faults * ground.mean_pause_s)
    dataset = chaos_dataset(events, seed)
    put_champion(ground.settings, dataset)
    _publish(ground.settings, dataset)
    put_experiment(ground.settings)
    fleet = _fleet(ground.settings, listener, events, seed, rate)
    members = sorted({event.member_id for event in dataset.events})[:VISITED_MEMBERS]
    visitor = Visitor(f"http://127.0.0.1:{listener.getsockname()[1]}", members, seed)
    try:
        for name in STARTED:
            fleet.start(name)
        visitor.start()
        struck = _strike(fleet, ground, deal(ground.kinds, faults, rng), rng, say)
        say("waiting for the replay to end and the agents to catch up")
        if fleet.wait("producer", CATCH_UP_TIMEOUT_S) != 0:
            raise RuntimeError(f"the producer failed:\n{fleet.log_tail('producer')}")
        visitor.wait_for_a_fresh_page(CATCH_UP_TIMEOUT_S)
        visitor.stop()
        fleet.stop("serve")
        _wait_for_agents(fleet, ground.settings)
    finally:
        if visitor.is_alive():
            visitor.stop()
        fleet.stop_all()
        listener.close()
    return ChaosReport(
        struck,
        _compare(ground.settings),
        visitor.answers,
        visitor.degraded,
        visitor.cut,
        visitor.unanswered,
        visitor.failed,
        visitor.untrue,
    )


def _publish(settings: Settings, dataset: Dataset) -> None:
    """Have the titles there before the first visit: a page without any has nothing to be judged by."""
    engine = open_sql(settings)
    publish_titles(engine, dataset.titles, time.time_ns() // 1_000_000 - 2 * GRACE_MS)
    engine.dispose()


def _fleet(settings: Settings, listener: socket.socket, events: int, seed: int, rate: float) -> Fleet:
    commands = {
        "serve": ["-m", "marquee", "serve"],
        "features": ["-m", "marquee", "agents", "features"],
        "sink": ["-m", "marquee", "agents", "sink"],
        "experiments": ["-m", "marquee", "agents", "experiments"],
        "producer": ["-m", "load_tests.chaos.producer", str(events), str(seed), str(rate)],
    }
    environment = {
        "MARQUEE_STATE": str(settings.state),
        "MARQUEE_LOG_URL": settings.log_url,
        "MARQUEE_HOT_URL": settings.hot_url,
        "MARQUEE_DURABLE_URL": settings.durable_url,
        "MARQUEE_SQL_URL": settings.sql_url,
        "MARQUEE_LISTEN_FD": str(listener.fileno()),
        "MARQUEE_SESSION_TIMEOUT_MS": str(settings.session_timeout_ms),
        "MARQUEE_WAREHOUSE_FLUSH_S": "1",
        "MARQUEE_WAREHOUSE_FLUSH_RECORDS": "500",
    }
    return Fleet(
        lambda name: commands[name.partition("-")[0]], environment, settings.state / "logs", (listener.fileno(),)
    )


def _strike(
    fleet: Fleet, ground: Ground, faults: Sequence[Fault], rng: random.Random, say: Callable[[str], None]
) -> Counter[str]:
    field = ground.field_of(fleet, rng)
    for number, fault in enumerate(faults, 1):
        time.sleep(rng.expovariate(1 / ground.mean_pause_s))
        _check_alive(fleet)
        say(f"{number}/{len(faults)}: {fault.name}")
        fault.strike(field)
    field.settle()
    return Counter(fault.name for fault in faults)


def _check_alive(fleet: Fleet) -> None:
    for name in fleet.names():
        code = fleet.exit_code(name)
        if code is not None and (name, code) != ("producer", 0):
            raise RuntimeError(f"{name} ended by itself with {code}:\n{fleet.log_tail(name)}")


def _wait_for_agents(fleet: Fleet, settings: Settings) -> None:
    """Return once every group has committed to the end of every partition that it reads."""
    log = open_event_log(settings)
    deadline = time.monotonic() + CATCH_UP_TIMEOUT_S
    try:
        while lag := _lag_if_known(log):
            _check_alive(fleet)
            if time.monotonic() > deadline:
                tails = "\n".join(fleet.log_tail(name, 4) for name in fleet.names())
                raise RuntimeError(f"the agents are behind after {CATCH_UP_TIMEOUT_S:.0f} s: {lag}\n{tails}")
            time.sleep(0.1)
    finally:
        log.close()


def _lag_if_known(log: EventLog) -> dict[str, int]:
    try:
        return _lag(log)
    except MarqueeError as error:  # the last fault may have struck the log itself
        return {str(error): 1}


def _lag(log: EventLog) -> dict[str, int]:
    """Return the records that each group has not committed; empty when there are none."""
    lag: Counter[str] = Counter()
    for group, read in GROUPS.items():
        for topic in read:
            for partition in range(log.partition_count(topic)):
                committed = log.committed(group, TopicPartition(topic, partition)) or 0
                lag[group] += log.end_offset(topic, partition) - committed
    return {group: behind for group, behind in lag.items() if behind}


def _compare(settings: Settings) -> Comparison:
    log, (hot, durable) = open_event_log(settings), open_serving_stores(settings, feature_versions())
    engine = open_sql(settings)
    try:
        return compare(log, read_catalogue(engine), hot, durable, settings.path_of(settings.warehouse_url), engine)
    finally:
        log.close()
        hot.close()
        durable.close()
        engine.dispose()
