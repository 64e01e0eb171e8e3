"""The agents' pipeline on Kafka: consume, decode, fold, write both stores, commit; beside a bare loop and plain Faust.

Each consumer is a process of its own. It joins its group on an empty topic and is stopped (SIGSTOP); the events are
appended; it is let go, and timed until it has worked them all off. So neither start-up nor appending is in the time.
The worker's time ends with its last commit, which follows its last write to the stores.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from load_tests.platform import free_port
from streams.catalogue import GRACE_MS, publish_titles
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog, Message, TopicPartition
from streams.events import encode_event
from streams.importers.dataset import Dataset
from streams.settings import Settings
from streams.stores.sql import open_sql
from streams.topics import ALL, MEMBER_EVENTS

APPEND_BATCH: Final = 2_000
PLAIN_EVENTS: Final = 30_000
"""What the plain agent is given: at its pace, more would take long and say the same."""

ROUNDS: Final = 3
SESSION_MS: Final = 60_000
"""Longer than the appending takes, while the consumers are stopped."""
PATIENCE_S: Final = 300.0
LOOK_S: Final = 0.02
GROUP: Final = "features"


class Rate(NamedTuple):
    """Events a second: of wall clock, and of processor time of the consumers' processes (nan where there is no /proc),
    which is what a machine that does other things besides leaves comparable."""

    per_s: float
    per_cpu_s: float

    def over(self, other: Rate) -> Rate:
        """Return both as multiples of another's."""
        return Rate(self.per_s / other.per_s, self.per_cpu_s / other.per_cpu_s)


@dataclass(frozen=True)
class KafkaPipelineReport:
    """Medians over rounds; the members of a round run one after the other.

    bare: fetched and decoded, nothing else. plain: an ordinary Faust agent that decodes. workers: what 1, 2, … worker
    processes of this platform do in all, with the whole pipeline.
    """

    events: int
    bare: Rate
    plain: Rate
    workers: Mapping[int, Rate]

    @property
    def share_of_bare(self) -> Rate:
        """One worker's rate as a share of the bare loop's."""
        return self.workers[1].over(self.bare)

    @property
    def times_plain(self) -> Rate:
        """One worker's rate as a multiple of the plain agent's."""
        return self.workers[1].over(self.plain)


def measure_kafka_pipeline(
    dataset: Dataset, settings: Settings, folder: Path, rounds: int = ROUNDS, workers: Sequence[int] = (1, 2)
) -> KafkaPipelineReport:
    """Return the rates on the engines of `settings`. Each run has its own topics, states and folder. Topics and folders
    are removed after it; what is in a Redis or Cassandra stays, as those of a bench are its own (real_engines)."""
    messages = [Message(event.member_id.encode(), encode_event(event)) for event in dataset.events]
    bare, plain = [], []
    working: dict[int, list[Rate]] = {count: [] for count in workers}
    for number in range(rounds):
        bare.append(_rate_beside("bare", messages, settings, folder / f"bare-{number}"))
        for count in workers:
            rate = _rate_of_workers(count, dataset, messages, settings, folder / f"workers-{count}-{number}")
            working[count].append(rate)
        plain.append(_rate_beside("plain", messages[:PLAIN_EVENTS], settings, folder / f"plain-{number}"))
    medians = {count: _median(rates) for count, rates in working.items()}
    return KafkaPipelineReport(len(messages), _median(bare), _median(plain), medians)


def _median(rates: Sequence[Rate]) -> Rate:
    return Rate(*map(statistics.median, zip(*rates, strict=True)))


@contextlib.contextmanager
def _fresh_log(settings: Settings, state: Path) -> Iterator[tuple[Settings, EventLog]]:
    """Yield settings with places of their own in every engine, and their log."""
    own = settings.model_copy(update={"state": state, "session_timeout_ms": SESSION_MS, **_own_places(settings)})
    state.mkdir(parents=True)
    log = open_event_log(own)
    try:
        yield own, log
    finally:
        for topic in ALL:
            log.delete_topic(topic)
        log.close()
        shutil.rmtree(state)


def _own_places(settings: Settings) -> dict[str, str]:
    name = f"bench_{uuid.uuid4().hex[:12]}"
    places = {"log_url": urlsplit(settings.log_url)._replace(path=f"/{name}.").geturl()}
    if settings.scheme_of(settings.hot_url) != "embedded":
        places["hot_url"] = urlsplit(settings.hot_url)._replace(query=f"prefix={name}").geturl()
    if settings.scheme_of(settings.durable_url) == "cassandra":
        places["durable_url"] = urlsplit(settings.durable_url)._replace(path=f"/{name}").geturl()
    return places


def _rate_beside(program: str, messages: Sequence[Message], settings: Settings, state: Path) -> Rate:
    with _fresh_log(settings, state) as (own, log):
        url = urlsplit(own.log_url)
        topic, group = url.path[1:] + MEMBER_EVENTS, url.path[1:] + program
        arguments = (program, url.netloc, topic, group, str(len(messages)))
        command = (sys.executable, "-m", "load_tests.bench.faust_agent", *arguments)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            _read_line(process, "ready")
            return _timed([process], log, messages, lambda: _read_line(process, "done"))


def _rate_of_workers(
    count: int, dataset: Dataset, messages: Sequence[Message], settings: Settings, state: Path
) -> Rate:
    with _fresh_log(settings, state) as (own, log):
        engine = open_sql(own)
        publish_titles(engine, dataset.titles, time.time_ns() // 1_000_000 - 2 * GRACE_MS)
        engine.dispose()
        ports = [free_port() for _ in range(count)]
        processes = [_start_worker(own, port) for port in ports]
        try:
            share = own.partitions // count
            _wait(lambda: all(_held(port) == share for port in ports))
            return _timed(processes, log, messages, lambda: _wait(lambda: _committed(log) == len(messages)))
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()


def _timed(
    processes: Sequence[subprocess.Popen[str]], log: EventLog, messages: Sequence[Message], work: Callable[[], None]
) -> Rate:
    """Return the rate at which stopped processes work the messages off, once they are let go."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    for first in range(0, len(messages), APPEND_BATCH):
        log.append(MEMBER_EVENTS, messages[first : first + APPEND_BATCH])
    started_s, cpu_s = time.perf_counter(), _cpu_s(processes)
    for process in processes:
        process.send_signal(signal.SIGCONT)
    work()
    return Rate(len(messages) / (time.perf_counter() - started_s), len(messages) / (_cpu_s(processes) - cpu_s))


def _cpu_s(processes: Sequence[subprocess.Popen[str]]) -> float:
    """Return the processor time that processes have taken; nan where the system does not say."""
    try:
        texts = [Path(f"/proc/{process.pid}/stat").read_text() for process in processes]
    except OSError:
        return math.nan
    user_and_system = [text.rpartition(")")[2].split()[11:13] for text in texts]
    return sum(int(ticks) for pair in user_and_system for ticks in pair) / os.sysconf("SC_CLK_TCK")


def _start_worker(settings: Settings, port: int) -> subprocess.Popen[str]:
    given = {f"MARQUEE_{name.upper()}": value for name, value in settings.model_dump(mode="json").items()}
    environment = {name: _as_text(value) for name, value in given.items() if value is not None}
    command = (sys.executable, "-m", "marquee", "agents", "features", "--metrics-port", str(port))
    output = (settings.state / f"worker-{port}.log").open("w")
    with output:
        return subprocess.Popen(command, env=os.environ | environment, stdout=output, stderr=output, text=True)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _read_line(process: subprocess.Popen[str], wanted: str) -> None:
    assert process.stdout is not None
    while line := process.stdout.readline():
        if line.strip() == wanted:
            return
    raise RuntimeError(f"{process.args!r} ended before it was {wanted}")


def _held(port: int) -> int:
    """Return how many partitions a worker's feature agent holds, 0 while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/agents", timeout=5) as response:
            groups = json.load(response)
    except OSError:
        return 0
    return len(groups.get(GROUP, {"partitions": ()})["partitions"])


def _committed(log: EventLog) -> int:
    partitions = range(log.partition_count(MEMBER_EVENTS))
    return sum(log.committed(GROUP, TopicPartition(MEMBER_EVENTS, n)) or 0 for n in partitions)


def _wait(done: Callable[[], bool]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > ends:
            raise TimeoutError("it never came true")
        time.sleep(LOOK_S)
