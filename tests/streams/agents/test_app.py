"""The agents' process: from an event in the log to its states and its row in the warehouse; stopped by a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.agents.app import main, retention
from streams.agents.dead_letters import list_dead_letters
from streams.catalogue import GRACE_MS, Title, publish_titles
from streams.errors import Corrupt, FixRequest, TryAgain
from streams.event_log.embedded import EmbeddedLog
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog, Message, TopicPartition
from streams.events import Event, encode_event
from streams.settings import Settings
from streams.stores.open import open_durable
from streams.stores.sql import open_sql
from streams.topics import MEMBER_EVENTS
from streams.warehouse import root_of

ROOT = Path(__file__).parents[3]
PATIENCE_S = 30.0


def wait_for(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.02)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path, log_sync=False, session_timeout_ms=1000)


@pytest.fixture
def log(settings: Settings) -> Iterator[EventLog]:
    log = open_event_log(settings)
    yield log
    log.close()


def start(settings: Settings, *names: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "MARQUEE_STATE": str(settings.state),
        "MARQUEE_LOG_SYNC": "false",
        "MARQUEE_SESSION_TIMEOUT_MS": "1000",
        "PYTHONPATH": str(ROOT),
    }
    program = f"from streams.agents.app import agents; agents({list(names)!r})"
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE, text=True)


def play(number: int, item_id: str = "title") -> Message:
    event = Event(f"event-{number}", "play", f"member-{number % 5}", 1_700_000_000_000 + number, item_id)
    return Message(event.member_id.encode(), encode_event(event))


def behind(log: EventLog, group: str) -> int:
    places = [TopicPartition(MEMBER_EVENTS, n) for n in range(log.partition_count(MEMBER_EVENTS))]
    return sum(log.end_offset(*place) - (log.committed(group, place) or 0) for place in places)


def test_the_process_works_off_the_log_and_a_signal_stops_it_with_everything_kept(
    settings: Settings, log: EventLog
) -> None:
    engine = open_sql(settings)
    publish_titles(engine, [Title("title", "A title", 2020, ("Drama",))], time.time_ns() // 1_000_000 - 2 * GRACE_MS)
    engine.dispose()
    process = start(settings, "features", "sink")
    try:
        log.append(MEMBER_EVENTS, [*(play(n) for n in range(40)), Message(b"member-1", b"{not json")])
        wait_for(lambda: behind(log, "features") == 0)
        assert [letter.reason for letter in list_dead_letters(log, 10)] == ["malformed"]
        process.send_signal(signal.SIGTERM)
        _, lines = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert [json.loads(line)["message"] for line in lines.splitlines()][-1] == "agents stopped"
    durable = open_durable(settings)
    assert sorted(durable.member_ids(10)) == [f"member-{n}" for n in range(5)]
    durable.close()
    assert list(root_of(settings).glob(f"{MEMBER_EVENTS}/*/*/*.parquet"))


@pytest.mark.parametrize("names", [[], ["features", "nonsense"]])
def test_an_unknown_agent_is_refused_by_name(names: list[str], settings: Settings) -> None:
    with pytest.raises(FixRequest, match="there are features, sink"):
        main(names, settings)


def test_retention_is_enforced_while_the_block_runs(tmp_path: Path) -> None:
    now_ms = 1_700_000_000_000
    log = EmbeddedLog(tmp_path / "log", sync=False, retention_ms=1000, clock_ms=lambda: now_ms)
    log.create_topic("events", 1)
    log.append("events", [Message(b"", b"old")])
    with retention(log, 0.01, clock_ms=lambda: now_ms + 2000):
        wait_for(lambda: log.start_offset("events", 0) == 1)
    log.close()


@pytest.mark.parametrize("error", [TryAgain("away"), FixRequest("topic", "deleted meanwhile"), Corrupt("a record")])
def test_retention_outlives_every_error_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    log = EmbeddedLog(tmp_path / "log", sync=False)
    attempts: list[int] = []

    def enforce_retention(now_ms: int) -> int:
        attempts.append(now_ms)
        raise error

    monkeypatch.setattr(log, "enforce_retention", enforce_retention)
    with retention(log, 0.01):
        wait_for(lambda: len(attempts) >= 2)
    log.close()
