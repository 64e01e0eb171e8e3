"""The runner: at least once, in order, patient with stores that are away, and out of the way of other members."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from streams.agents.backoff import Backoff
from streams.agents.health import AgentHealth
from streams.agents.lag_meter import LagMeter
from streams.agents.runner import RunnerPolicy, run_agents
from streams.errors import FixRequest, SlowDown, TryAgain
from streams.event_log.embedded import EmbeddedLog
from streams.event_log.embedded_consumer import EmbeddedConsumer
from streams.event_log.protocol import Batch, Message, TopicPartition

PATIENCE_S = 10.0
POLICY = RunnerPolicy(poll_timeout_s=0.02, commit_interval_s=0.0, lag_interval_s=0.02, backoff=Backoff(0.01, 0.05))


class Recorder:
    """An agent that keeps what it is given, and fails when told to."""

    topics: Sequence[str] = ("events",)

    def __init__(self, name: str = "recorder", topics: Sequence[str] = ("events",)) -> None:
        self.name = name
        self.topics = topics
        self.values: list[bytes] = []
        self.held: set[TopicPartition] = set()
        self.ahead: dict[TopicPartition, int] = {}
        self.lost: list[TopicPartition] = []
        self.durable: dict[TopicPartition, int] = {}
        self.process_errors: list[Exception] = []
        self.flush_errors: list[Exception] = []
        self.assigned_errors: list[Exception] = []
        self.attempts = 0
        self.closed_with_partitions: set[TopicPartition] | None = None

    def process(self, batch: Batch) -> None:
        self.attempts += 1
        if self.process_errors:
            raise self.process_errors.pop(0)
        place = TopicPartition(batch.topic, batch.partition)
        assert place in self.held
        self.values += [record.value for record in batch.records]
        self.durable[place] = batch.records[-1].offset + 1

    def flush(self, now_ms: int) -> Mapping[TopicPartition, int]:
        if self.flush_errors:
            raise self.flush_errors.pop(0)
        return dict(self.durable)

    def assigned(self, partitions: Iterable[TopicPartition]) -> Mapping[TopicPartition, int]:
        if self.assigned_errors:
            raise self.assigned_errors.pop(0)
        self.held |= set(partitions)
        return {place: offset for place, offset in self.ahead.items() if place in self.held}

    def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        for place in partitions:
            self.held.discard(place)
            self.lost.append(place)
            self.durable.pop(place, None)

    def close(self) -> None:
        self.closed_with_partitions = set(self.held)


class Freezing(Recorder):
    """A recorder that stands still in the middle of its first batch, until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.in_process = threading.Event()
        self.go_on = threading.Event()

    def process(self, batch: Batch) -> None:
        super().process(batch)
        self.in_process.set()
        self.go_on.wait(PATIENCE_S)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EmbeddedLog]:
    log = EmbeddedLog(tmp_path / "log", sync=False, session_timeout_ms=500)
    log.create_topic("events", 4)
    yield log
    log.close()


@contextmanager
def running(
    log: EmbeddedLog, *agents: Recorder, health: AgentHealth | None = None, policy: RunnerPolicy = POLICY
) -> Iterator[threading.Event]:
    """Run agents in a thread, until the block ends; an error of theirs fails the test (pytest reports the thread's)."""
    stop = threading.Event()
    arguments = {"policy": policy, "health": health, "rng": Random(1)}
    thread = threading.Thread(target=run_agents, args=(log, agents, stop), kwargs=arguments)
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join()


def wait_for(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends, "it never came true"
        time.sleep(0.002)


def messages(count: int, start: int = 0) -> list[Message]:
    return [Message(b"key-%d" % (n % 40), b"%d" % n) for n in range(start, start + count)]


def committed(log: EmbeddedLog, group: str = "recorder", topic: str = "events") -> int:
    return sum(log.committed(group, TopicPartition(topic, n)) or 0 for n in range(log.partition_count(topic)))


def metric(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_an_agent_gets_every_record_and_its_progress_is_committed(log: EmbeddedLog) -> None:
    log.append("events", messages(300))
    agent = Recorder()
    with running(log, agent):
        wait_for(lambda: committed(log) == 300)
        log.append("events", messages(50, start=300))
        wait_for(lambda: committed(log) == 350)
    assert sorted(map(int, agent.values)) == list(range(350))
    again = Recorder()
    with running(log, again):
        wait_for(lambda: len(again.held) == 4)
    assert again.values == []


def test_several_agents_run_side_by_side(log: EmbeddedLog) -> None:
    log.create_topic("pages", 2)
    log.append("events", messages(20))
    log.append("pages", messages(10))
    one, two = Recorder("one"), Recorder("two", ["events", "pages"])
    with running(log, one, two):
        wait_for(lambda: (len(one.values), len(two.values)) == (20, 30))


@pytest.mark.parametrize("error", [TryAgain("the store is away", 0.0), SlowDown("the store is full", 0.0)])
def test_a_batch_is_given_again_until_it_is_taken(log: EmbeddedLog, error: Exception) -> None:
    log.append("events", messages(100))
    agent = Recorder()
    agent.process_errors = [error] * 5
    with running(log, agent):
        wait_for(lambda: committed(log) == 100)
    assert sorted(map(int, agent.values)) == list(range(100))


class Terse(Recorder):
    """An agent that says each offset once, as one does that writes only now and then."""

    def flush(self, now_ms: int) -> Mapping[TopicPartition, int]:
        said, self.durable = self.durable, {}
        return said


class Unwritten(Recorder):
    """An agent that never has anything durable to say."""

    def flush(self, now_ms: int) -> Mapping[TopicPartition, int]:
        return {}


def test_what_an_agent_says_between_two_commits_is_committed_with_the_next(log: EmbeddedLog) -> None:
    agent = Terse()
    slow = dataclasses.replace(POLICY, commit_interval_s=0.15)
    with running(log, agent, policy=slow):
        for start in range(0, 40, 10):
            log.append("events", messages(10, start=start))
            wait_for(lambda taken=start + 10: len(agent.values) == taken)  # type: ignore[misc]  # a lambda's default
        wait_for(lambda: committed(log) == 40)


def test_nothing_is_committed_before_the_agent_says_it_is_durable(log: EmbeddedLog) -> None:
    log.append("events", messages(100))
    agent = Recorder()
    agent.flush_errors = [TryAgain("the store is away", 0.0)] * 10_000
    with running(log, agent):
        wait_for(lambda: len(agent.values) == 100)
        assert committed(log) == 0
        agent.flush_errors.clear()
        wait_for(lambda: committed(log) == 100)
    assert len(agent.values) == 100


def test_an_agent_that_waits_says_so_and_keeps_its_partitions(log: EmbeddedLog) -> None:
    log.append("events", messages(10))
    agent, health = Recorder(), AgentHealth()
    agent.process_errors = [TryAgain("the store is away", 0.0)] * 1_000_000
    errors_before = metric("marquee_agent_errors_total", agent="recorder", error="TryAgain")
    with running(log, agent, health=health):
        wait_for(lambda: health.reasons().get("recorder") == "the store is away")
        assert not health.is_ready()
        assert metric("marquee_agent_ready", agent="recorder") == 0.0
        other = log.consumer("recorder", ["events"])
        ends = time.monotonic() + 0.7
        while time.monotonic() < ends:
            other.poll(0, 0.02)
        assert len(other.assignment()) == 2  # its share, not all: the waiting agent outlived the session timeout
        other.close()
        agent.process_errors.clear()
        wait_for(lambda: committed(log) == 10)
        wait_for(health.is_ready)
    assert metric("marquee_agent_errors_total", agent="recorder", error="TryAgain") > errors_before


def test_an_agent_may_read_on_from_elsewhere_than_its_commit(log: EmbeddedLog) -> None:
    log.append("events", [Message(b"a", b"%d" % n) for n in range(20)])
    place = TopicPartition("events", log.append("events", [Message(b"a", b"20")])[0].partition)
    agent = Recorder()
    agent.ahead = {place: 15}
    with running(log, agent):
        wait_for(lambda: agent.durable.get(place) == 21)
    assert agent.values == [b"15", b"16", b"17", b"18", b"19", b"20"]


def test_effects_of_records_that_the_log_has_lost_do_not_hide_those_that_come_in_their_place(log: EmbeddedLog) -> None:
    place = TopicPartition("events", log.append("events", [Message(b"a", b"%d" % n) for n in range(20)])[0].partition)
    agent = Recorder()
    agent.ahead = {place: 50}
    with running(log, agent):
        wait_for(lambda: log.committed("recorder", place) == 20)
    assert len(agent.values) == 20


def test_effects_found_ahead_of_the_commit_are_committed_without_new_records(log: EmbeddedLog) -> None:
    place = TopicPartition("events", log.append("events", [Message(b"a", b"%d" % n) for n in range(20)])[0].partition)
    agent = Recorder()
    agent.ahead = {place: 20}
    with running(log, agent):
        wait_for(lambda: log.committed("recorder", place) == 20)
    assert agent.values == []


def test_an_agent_that_lost_its_effects_reads_from_the_start_and_its_commit_stays(
    log: EmbeddedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = TopicPartition("events", log.append("events", [Message(b"a", b"%d" % n) for n in range(20)])[0].partition)
    with running(log, Recorder()):
        wait_for(lambda: committed(log) == 20)
    commits: list[Mapping[TopicPartition, int]] = []
    monkeypatch.setattr(EmbeddedConsumer, "commit", lambda _, offsets: commits.append(offsets))
    agent = Recorder()
    agent.ahead = {place: 0}
    with running(log, agent, policy=dataclasses.replace(POLICY, max_records=5)):
        wait_for(lambda: len(agent.values) == 20)
        log.append("events", [Message(b"a", b"20")])
        wait_for(lambda: commits == [{place: 21}])


def test_an_agent_that_rebuilds_its_effects_is_behind_by_what_it_has_yet_to_read(log: EmbeddedLog) -> None:
    place = TopicPartition("events", log.append("events", [Message(b"a", b"%d" % n) for n in range(20)])[0].partition)
    with running(log, Recorder()):
        wait_for(lambda: committed(log) == 20)
    agent = Unwritten()
    agent.ahead = {place: 0}
    labels = {"agent": "recorder", "topic": "events", "partition": str(place.partition)}
    with running(log, agent):
        wait_for(lambda: len(agent.values) == 20)
        wait_for(lambda: metric("marquee_agent_lag_records", **labels) == 20)


def test_partitions_that_cannot_be_taken_over_yet_are_asked_for_again(log: EmbeddedLog) -> None:
    log.append("events", messages(40))
    agent = Recorder()
    agent.assigned_errors = [TryAgain("the store is away", 0.0)] * 3
    with running(log, agent):
        wait_for(lambda: committed(log) == 40)
    assert sorted(map(int, agent.values)) == list(range(40))


def test_a_topic_that_is_deleted_while_it_is_taken_over_is_waited_for(log: EmbeddedLog) -> None:
    log.append("events", messages(40))
    agent = Recorder()
    agent.assigned_errors = [FixRequest("topic", "there is no topic 'events'")]
    with running(log, agent):
        wait_for(lambda: committed(log) == 40)


def test_another_member_takes_its_share_and_gives_it_back(log: EmbeddedLog) -> None:
    one, two = Recorder(), Recorder()
    with running(log, one):
        wait_for(lambda: len(one.held) == 4)
        with running(log, two):
            wait_for(lambda: len(one.held) == len(two.held) == 2)
            log.append("events", messages(40))
            wait_for(lambda: committed(log) == 40)
        wait_for(lambda: len(one.held) == 4)
    assert sorted(map(int, one.values + two.values)) == list(range(40))
    assert one.values
    assert two.values


def test_an_agent_that_was_put_out_drops_everything_and_joins_anew(log: EmbeddedLog) -> None:
    agent = Freezing()
    log.append("events", [Message(b"a", b"1")])
    with running(log, agent):
        assert agent.in_process.wait(PATIENCE_S)
        other = log.consumer("recorder", ["events"])
        wait_for(lambda: other.poll(0, 0.01) == [] and len(other.assignment()) == 4)
        agent.go_on.set()
        wait_for(lambda: len(agent.lost) == 4)
        assert committed(log) == 0
        other.close()
        wait_for(lambda: committed(log) == 1)
    assert agent.values == [b"1", b"1"]


def test_a_recreated_topic_is_read_from_its_start(log: EmbeddedLog) -> None:
    log.append("events", messages(10))
    agent = Recorder()
    with running(log, agent):
        wait_for(lambda: committed(log) == 10)
        log.delete_topic("events")
        log.create_topic("events", 4)
        log.append("events", messages(5, start=100))
        wait_for(lambda: committed(log) == 5)
    assert sorted(map(int, agent.values[10:])) == [100, 101, 102, 103, 104]


def test_an_agent_outlives_the_log_being_away(log: EmbeddedLog, tmp_path: Path) -> None:
    agent, health = Recorder(), AgentHealth()
    with running(log, agent, health=health):
        wait_for(health.is_ready)
        (tmp_path / "log").rename(tmp_path / "elsewhere")
        wait_for(lambda: not health.is_ready())
        (tmp_path / "elsewhere").rename(tmp_path / "log")
        log.append("events", messages(10))
        wait_for(lambda: committed(log) == 10)
        wait_for(health.is_ready)


def test_stopping_flushes_commits_lets_the_agent_close_and_leaves_the_group(log: EmbeddedLog) -> None:
    log.append("events", messages(10))
    agent = Recorder()
    with running(log, agent) as stop:
        wait_for(lambda: len(agent.values) == 10)
        stop.set()
    assert committed(log) == 10
    assert agent.closed_with_partitions == {TopicPartition("events", n) for n in range(4)}
    assert agent.held == set()
    successor = log.consumer("recorder", ["events"])
    successor.poll(0, 0.0)
    assert len(successor.assignment()) == 4
    successor.close()


def test_stopping_does_not_wait_for_a_store_that_stays_away(log: EmbeddedLog) -> None:
    log.append("events", messages(10))
    agent = Recorder()
    agent.process_errors = [TryAgain("gone", 3600.0)] * 1_000_000
    agent.flush_errors = [TryAgain("gone", 3600.0)] * 1_000_000
    with running(log, agent):
        wait_for(lambda: agent.attempts > 0)
    assert committed(log) == 0


def test_an_unexpected_error_stops_all_agents_and_comes_out(log: EmbeddedLog) -> None:
    log.append("events", messages(10))
    broken, sound = Recorder("broken"), Recorder("sound")
    broken.process_errors = [ZeroDivisionError("a bug")]
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run_agents(log, [broken, sound], threading.Event(), policy=POLICY)
    assert sound.closed_with_partitions is not None


def test_lag_and_records_are_measured(log: EmbeddedLog) -> None:
    before = metric("marquee_agent_records_total", agent="recorder", topic="events")
    log.append("events", messages(10))
    agent = Recorder()
    agent.flush_errors = [TryAgain("the store is away", 0.0)] * 1_000_000
    with running(log, agent):
        wait_for(lambda: len(agent.values) == 10)
        agent.flush_errors.clear()
        wait_for(lambda: committed(log) == 10)
        wait_for(lambda: metric("marquee_agent_lag_records", agent="recorder", topic="events", partition="0") == 0)
        assert metric("marquee_agent_records_total", agent="recorder", topic="events") == before + 10
        assert metric("marquee_agent_last_commit_timestamp_seconds", agent="recorder") > 0
    lag = REGISTRY.get_sample_value(
        "marquee_agent_lag_records", {"agent": "recorder", "topic": "events", "partition": "0"}
    )
    assert lag is None  # nobody is behind there any more, as far as this process knows


class EndsUnknown(EmbeddedLog):
    """A log that does not say where it ends."""

    def end_offset(self, topic: str, partition: int) -> int:
        raise TryAgain("the log is away")


def test_a_lag_that_cannot_be_measured_stays_as_it_was(tmp_path: Path, log: EmbeddedLog) -> None:
    log.append("events", messages(3))
    at = next(TopicPartition("events", number) for number in range(4) if log.end_offset("events", number))
    labels = {"agent": "gauged", "topic": "events", "partition": str(at.partition)}
    meter = LagMeter(log, "gauged", 60.0, lambda: {at: 0})
    with meter.running():
        meter.measure()
        lag = metric("marquee_agent_lag_records", **labels)
        assert lag > 0
        away = LagMeter(EndsUnknown(tmp_path / "log", sync=False), "gauged", 60.0, lambda: {at: 0})
        away.measure()
        assert metric("marquee_agent_lag_records", **labels) == lag


@given(st.integers(1, 10_000), st.floats(0, 1e6), st.integers())
def test_a_wait_is_within_its_bounds_and_never_nothing(attempt: int, asked_s: float, seed: int) -> None:
    backoff = Backoff(first_s=0.05, max_s=5.0)
    assert 0.025 <= backoff.delay_s(attempt, asked_s, Random(seed)) <= 5.0


class Rests(threading.Event):
    """A stop event that notes how long it is waited for, and sets itself after some waits."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.waited: list[float | None] = []
        self._waits = waits

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        if len(self.waited) == self._waits:
            self.set()
        return self.is_set()


class Patient(Recorder):
    rest_s = 0.25


def test_an_agent_that_nobody_waits_for_rests_once_it_has_caught_up(log: EmbeddedLog) -> None:
    log.append("events", messages(300))
    agent, stop = Patient(), Rests(waits=10)
    run_agents(log, [agent], stop, policy=dataclasses.replace(POLICY, max_records=100), rng=Random(1))
    assert sorted(map(int, agent.values)) == list(range(300)), "it does not rest before"
    assert stop.waited.count(0.25) >= 1
