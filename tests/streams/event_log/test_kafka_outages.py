"""The event log while its broker is away, killed, frozen or lost: calls say to try again, and later all goes on."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from marquee.engines.guard import kill_all
from marquee.engines.local import Engines
from streams.errors import Fenced, MarqueeError, TryAgain
from streams.event_log.kafka.config import config_of
from streams.event_log.kafka.log import KafkaLog
from streams.event_log.open import open_event_log
from streams.event_log.protocol import Consumer, EventLog, Message
from streams.settings import Settings
from tests.engines import private_engines, require_engines
from tests.streams.event_log.contract import next_offsets, numbered, poll_until, read_all, values

pytestmark = pytest.mark.slow

PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    """A broker of this module's own, not started yet."""
    require_engines("kafka")
    engines = private_engines()
    yield engines
    kill_all(engines.folder)
    shutil.rmtree(engines.folder)


@pytest.fixture
def settings(engines: Engines, tmp_path: Path) -> Settings:
    return Settings(
        state=tmp_path,
        log_url=f"{engines.url('kafka')}/{tmp_path.name[-20:]}.",
        kafka_request_timeout_ms=1_000,
        session_timeout_ms=20_000,
        partitions=1,
    )


def persist(call: Callable[[], object]) -> object:
    """Do as the errors say: try again until it works."""
    ends = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except TryAgain:
            if time.monotonic() > ends:
                raise
            time.sleep(0.1)


def poll_on(consumer: Consumer, count: int) -> list[bytes]:
    """Poll until `count` records came, whatever is away meanwhile."""
    found: list[bytes] = []
    ends = time.monotonic() + PATIENCE_S
    while len(found) < count:
        assert time.monotonic() < ends, f"{len(found)} of {count} records came"
        try:
            found += values(consumer.poll(1000, 0.2))
        except TryAgain:
            time.sleep(0.1)
    return found


def test_a_log_that_is_away_when_it_is_opened_works_once_it_is_there(engines: Engines, settings: Settings) -> None:
    log = open_event_log(settings)
    for call in (
        lambda: log.append("events", numbered(1)),
        lambda: log.consumer("group", ["events"]),
        lambda: log.end_offset("events", 0),
        lambda: log.create_topic("events", 2),
    ):
        with pytest.raises(TryAgain):
            call()
    engines.start("kafka")
    persist(lambda: log.append("events", numbered(10)))  # the topic that could not be created before is now
    assert len(read_all(log, "events")) == 10
    assert log.partition_count("events") == 2
    log.close()


def test_what_was_acknowledged_outlives_a_killed_broker_and_everybody_goes_on(
    engines: Engines, settings: Settings
) -> None:
    engines.start("kafka")
    log = KafkaLog(config_of(settings))
    log.create_topic("events", 2)
    consumer = log.consumer("group", ["events"])
    log.append("events", numbered(100))
    consumer.commit(next_offsets(poll_until(consumer, 100)))
    held = consumer.assignment()
    acknowledged, stop = [], threading.Event()

    def write() -> None:
        number = 100
        while not stop.is_set():
            try:
                log.append("events", [Message(b"key-%d" % (number % 9), b"%d" % number)])
                acknowledged.append(number)
                number += 1
            except TryAgain:
                time.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(0.3)
    engines.kill("kafka")
    before = len(acknowledged)
    with pytest.raises(TryAgain):
        log.end_offset("events", 0)
    engines.start("kafka")
    ends = time.monotonic() + PATIENCE_S
    while len(acknowledged) < before + 20:
        assert time.monotonic() < ends
        time.sleep(0.05)
    stop.set()
    writer.join()
    written = [int(record.value) for record in read_all(log, "events")]
    assert set(acknowledged) <= set(written)
    found = [int(value) for value in poll_on(consumer, len(written) - 100)]
    assert sorted(found) == sorted(number for number in written if number >= 100)
    assert consumer.assignment() == held
    consumer.close()
    log.close()


def test_a_frozen_broker_holds_nobody_for_longer_than_the_timeout(engines: Engines, settings: Settings) -> None:
    engines.start("kafka")
    log = KafkaLog(config_of(settings))
    log.create_topic("events", 1)
    log.append("events", numbered(10))
    engines.freeze("kafka")
    for call in (lambda: log.append("events", numbered(1, start=10)), lambda: log.end_offset("events", 0)):
        started_s = time.monotonic()
        with pytest.raises(TryAgain):
            call()
        assert time.monotonic() - started_s < 5.0
    engines.thaw("kafka")
    persist(lambda: log.append("events", numbered(1, start=11)))
    numbers = [int(record.value) for record in read_all(log, "events")]
    assert [number for number in numbers if number != 10] == [*range(10), 11]
    log.close()


def test_a_new_cluster_in_its_place_is_noticed_and_begins_in_higher_epochs(
    engines: Engines, settings: Settings
) -> None:
    engines.start("kafka")
    log: EventLog = open_event_log(settings)
    log.create_topic("events", 1)
    consumer = log.consumer("group", ["events"])
    log.append("events", numbered(100))
    consumer.commit(next_offsets(poll_until(consumer, 100)))
    engines.kill("kafka")
    engines.start("kafka", wipe=True)
    persist(lambda: log.create_topic("events", 1))
    assert log.epoch("events") == 2
    log.append("events", numbered(10, start=1000))
    errors: list[MarqueeError] = []
    found: list[bytes] = []
    ends = time.monotonic() + PATIENCE_S
    while len(found) < 10:
        assert time.monotonic() < ends, errors
        try:
            found += values(consumer.poll(1000, 0.2))
        except (Fenced, TryAgain) as error:
            errors.append(error)
    assert any(isinstance(error, Fenced) for error in errors)
    assert sorted(map(int, found)) == list(range(1000, 1010))
    consumer.close()
    log.close()
