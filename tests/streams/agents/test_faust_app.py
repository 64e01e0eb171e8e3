"""The agents as Faust workers, as processes: from an event in Kafka to its state, through rebalances and deaths."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from marquee.engines.guard import kill_all
from streams.agents.dead_letters import list_dead_letters
from streams.catalogue import GRACE_MS, Title, publish_titles, read_catalogue
from streams.errors import TryAgain
from streams.event_log.epochs import read_epochs
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog, Message, TopicPartition
from streams.events import Event, encode_event
from streams.features.replay import replay
from streams.settings import Settings
from streams.stores.open import open_durable, open_hot
from streams.stores.sql import open_sql
from streams.topics import MEMBER_EVENTS
from streams.warehouse import root_of
from tests.engines import private_engines, require_engines
from tests.streams.event_log.kafka_topics import own_prefix

ROOT = Path(__file__).parents[3]
PATIENCE_S = 40.0
MARQUEE = (sys.executable, "-m", "marquee", "agents")
FAUST = (str(Path(sys.executable).with_name("faust")), "-A", "streams.app", "worker")


@pytest.fixture
def settings(tmp_path: Path, kafka_url: str) -> Iterator[Settings]:
    with own_prefix(kafka_url) as prefix:
        yield Settings(state=tmp_path, log_url=f"{kafka_url}/{prefix}", partitions=4)


@pytest.fixture
def log(settings: Settings) -> Iterator[EventLog]:
    log = open_platform(settings)
    yield log
    log.close()


def open_platform(settings: Settings) -> EventLog:
    """Return the log of a platform with one title."""
    engine = open_sql(settings)
    publish_titles(engine, [Title("title", "A title", 2020, ("Drama",))], time.time_ns() // 1_000_000 - 2 * GRACE_MS)
    engine.dispose()
    return open_event_log(settings)


class Workers:
    """The worker processes of a test."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, *command: str, **settings: str) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "MARQUEE_STATE": str(self._settings.state),
            "MARQUEE_LOG_URL": self._settings.log_url,
            "MARQUEE_PARTITIONS": str(self._settings.partitions),
            "PYTHONPATH": str(ROOT),
            **settings,
        }
        output = (self._settings.state / f"worker-{len(self._processes)}.log").open("w")
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, text=True)
        output.close()
        self._processes.append(process)
        return process

    def output(self, number: int = 0) -> list[str]:
        return (self._settings.state / f"worker-{number}.log").read_text().splitlines()

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def workers(settings: Settings) -> Iterator[Workers]:
    workers = Workers(settings)
    yield workers
    workers.end()


def wait_for(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answer(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


def play(number: int) -> Message:
    event = Event(f"event-{number}", "play", f"member-{number % 20}", 1_700_000_000_000 + number, "title")
    return Message(event.member_id.encode(), encode_event(event))


def behind(log: EventLog, group: str) -> int:
    places = [TopicPartition(MEMBER_EVENTS, n) for n in range(log.partition_count(MEMBER_EVENTS))]
    return sum(log.end_offset(*place) - (log.committed(group, place) or 0) for place in places)


def held(port: int, group: str) -> list[Mapping[str, Any]]:
    status, body = answer(port, "/agents")
    return list(json.loads(body)[group]["partitions"]) if status == 200 and group in json.loads(body) else []


def test_marquee_agents_works_off_a_kafka_log_and_a_signal_stops_it_with_everything_kept(
    settings: Settings, log: EventLog, workers: Workers
) -> None:
    port = free_port()
    process = workers.start(*MARQUEE, "features", "sink", "--metrics-port", str(port))
    log.append(MEMBER_EVENTS, [*(play(n) for n in range(40)), Message(b"member-1", b"{not json")])
    wait_for(lambda: behind(log, "features") == 0)
    assert [letter.reason for letter in list_dead_letters(log, 10)] == ["malformed"]
    wait_for(lambda: answer(port, "/readyz")[0] == 200)
    assert json.loads(answer(port, "/readyz")[1]) == {"agents": {"features": None, "shown": None, "warehouse": None}}
    assert 'marquee_agent_records_total{agent="features",topic="member-events"} 41.0' in answer(port, "/metrics")[1]
    assert len(held(port, "features")) == 4
    assert sum(each["position"] for each in held(port, "features")) == 41
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert json.loads(workers.output()[-1])["message"] == "agents stopped"
    durable = open_durable(settings)
    assert sorted(durable.member_ids(50)) == sorted(f"member-{n}" for n in range(20))
    durable.close()
    assert list(root_of(settings).glob(f"{MEMBER_EVENTS}/*/*/*.parquet"))


def test_the_faust_command_runs_what_the_settings_say(log: EventLog, workers: Workers) -> None:
    port = free_port()
    process = workers.start(*FAUST, "--web-port", str(port))
    log.append(MEMBER_EVENTS, [play(n) for n in range(10)])
    wait_for(lambda: behind(log, "features") == 0)
    wait_for(lambda: answer(port, "/readyz")[0] == 200)
    assert answer(port, "/")[0] == 200  # Faust's own index
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0


def test_a_worker_that_cannot_start_ends_and_says_why(log: EventLog, workers: Workers) -> None:
    process = workers.start(*MARQUEE, "sink", MARQUEE_WAREHOUSE_URL="nowhere:")
    assert process.wait(PATIENCE_S) == 1
    assert "MARQUEE_WAREHOUSE_URL" in workers.output()[-1]


@pytest.mark.slow
def test_workers_join_die_and_come_back_as_zombies_and_every_state_is_that_of_a_clean_replay(
    settings: Settings, log: EventLog, workers: Workers
) -> None:
    numbers = itertools.count()

    def append(count: int = 300) -> None:
        log.append(MEMBER_EVENTS, [play(next(numbers)) for _ in range(count)])

    def settled(**wanted: int) -> None:
        append()
        wait_for(lambda: all(len(held(ports[name], "features")) == count for name, count in wanted.items()))
        append()

    ports = {"a": free_port(), "b": free_port()}
    a, b = (workers.start(*MARQUEE, "features", "--metrics-port", str(port)) for port in ports.values())
    settled(a=2, b=2)
    a.send_signal(signal.SIGSTOP)
    settled(b=4)
    a.send_signal(signal.SIGCONT)
    settled(a=2, b=2)
    b.kill()
    settled(a=4)
    wait_for(lambda: behind(log, "features") == 0)
    a.send_signal(signal.SIGTERM)
    assert a.wait(PATIENCE_S) == 0

    engine = open_sql(settings)
    catalogue = read_catalogue(engine)
    engine.dispose()
    clean = replay(read_epochs(log, MEMBER_EVENTS), catalogue, log.epochs(MEMBER_EVENTS)).packed()
    for store in (open_hot(settings), open_durable(settings)):
        assert {kind: dict(store.scan(kind)) for kind in clean} == clean
        store.close()


@pytest.mark.slow
def test_a_worker_waits_for_a_broker_that_is_away_at_its_start_or_later(tmp_path: Path) -> None:
    require_engines("kafka")
    engines = private_engines()
    settings = Settings(state=tmp_path, log_url=f"{engines.url('kafka')}/away.", partitions=4)
    workers, numbers = Workers(settings), itertools.count()

    def is_appended(log: EventLog) -> bool:
        try:
            return bool(log.append(MEMBER_EVENTS, [play(next(numbers)) for _ in range(10)]))
        except TryAgain:
            return False

    def is_worked_off(log: EventLog) -> bool:
        try:
            return behind(log, "features") == 0
        except TryAgain:
            return False

    try:
        worker = workers.start(*MARQUEE, "features")
        wait_for(lambda: any("is away" in line for line in workers.output()))
        engines.start("kafka")
        log = open_platform(settings)
        wait_for(lambda: is_appended(log))
        wait_for(lambda: is_worked_off(log))
        engines.kill("kafka")
        time.sleep(settings.session_timeout_ms / 1000 + 1)
        engines.start("kafka")
        wait_for(lambda: is_appended(log))
        wait_for(lambda: is_worked_off(log))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE_S) == 0
        log.close()
    finally:
        workers.end()
        kill_all(engines.folder)
