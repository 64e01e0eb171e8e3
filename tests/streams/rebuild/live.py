"""A small platform in this process: a log, both stores, agents in threads, and events that keep coming."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from streams.agents.catalogue_source import CatalogueSource
from streams.agents.dead_letters import DeadLetters
from streams.agents.feature_agent import FeatureAgent
from streams.agents.generation import follow_generation
from streams.agents.health import AgentHealth
from streams.agents.protocol import Agent
from streams.agents.runner import run_agents
from streams.agents.shown_agent import ShownAgent
from streams.agents.warehouse_sink import WarehouseSink, open_sink
from streams.catalogue import Title, publish_titles, read_catalogue
from streams.event_log.epochs import read_epochs
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog, Message, TopicPartition
from streams.events import Event, encode_event
from streams.features.replay import OfflineStates, feature_versions, replay
from streams.impressions import Impression, ShownItem, ShownRow, encode_impression
from streams.settings import Settings
from streams.stores.open import open_durable, open_hot
from streams.stores.sql import open_sql
from streams.topics import IMPRESSIONS, MEMBER_EVENTS
from streams.warehouse import read_topic, root_of

PATIENCE_S = 60.0
NOW_MS = time.time_ns() // 1_000_000
TITLES = [Title(f"t{n}", f"Title {n}", 1990 + n, ("Drama",) if n % 2 else ("Comedy", "Romance")) for n in range(12)]
TYPES = ("view", "click", "play", "progress", "complete", "like", "dislike", "skip")


def event(number: int, members: int = 30) -> Event:
    """Return an event of a deterministic stream; every 17th is a client's retry of the one before."""
    if number % 17 == 16:
        return event(number - 1, members)
    return Event(
        f"e{number}",
        TYPES[number % len(TYPES)],  # type: ignore[arg-type]  # these are event types
        f"m{number * 7919 % members}",
        NOW_MS - 3_600_000 + number * 10,
        f"t{number * 31 % len(TITLES)}",
        value=30.0,
    )


def messages(numbers: Sequence[int]) -> list[Message]:
    made = [event(number) for number in numbers]
    return [Message(one.member_id.encode(), encode_event(one)) for one in made]


def impressions(numbers: Sequence[int]) -> list[Message]:
    rows = [ShownRow("top", 0, [ShownItem(f"t{n}", n, 0.5, 1.0) for n in range(3)])]
    made = [Impression(f"p{number}", f"m{number % 30}", NOW_MS - 1000 + number, "fresh", rows) for number in numbers]
    return [Message(one.member_id.encode(), encode_impression(one)) for one in made]


def publish(settings: Settings) -> None:
    """Publish the titles, long enough ago that all events know them."""
    engine = open_sql(settings)
    publish_titles(engine, TITLES, NOW_MS - 86_400_000)
    engine.dispose()


class Worker:
    """One worker's agents, in a thread of their own, until stopped."""

    def __init__(self, settings: Settings, *, sink: bool = True, versions: dict[str, str] | None = None) -> None:
        self._versions = versions
        self.health = AgentHealth()
        self.failure: BaseException | None = None
        self._settings = settings
        self._sink = sink
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            with contextlib.ExitStack() as stack:
                log = open_event_log(self._settings)
                stack.callback(log.close)
                run_agents(log, self.agents(log, stack), self._stop, health=self.health)
        except BaseException as error:  # noqa: BLE001 - the test's own thread raises it
            self.failure = error

    def agents(self, log: EventLog, stack: contextlib.ExitStack) -> list[Agent]:
        engine = open_sql(self._settings)
        hot, durable = open_hot(self._settings), open_durable(self._settings)
        for close in (engine.dispose, hot.close, durable.close):
            stack.callback(close)
        letters = DeadLetters(log)
        versions = self._versions or feature_versions()
        features, shown = (follow_generation(group, hot, durable, versions) for group in ("features", "shown"))
        chosen: list[Agent] = [
            FeatureAgent(
                CatalogueSource(engine), features.hot, features.durable, letters, log, generation=features.generation
            ),
            ShownAgent(shown.hot, shown.durable, letters, log, generation=shown.generation),
        ]
        return [*chosen, open_sink(self._settings, log)] if self._sink else chosen


class Producer:
    """Appends events, a few at a time, until stopped; `sent` of them so far."""

    def __init__(self, log: EventLog, start: int = 0, pause_s: float = 0.01, count: int = 10) -> None:
        self.sent = start
        self._log = log
        self._pause_s = pause_s
        self._count = count
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._stop.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.sent

    def wait_for(self, sent: int) -> None:
        wait_for(lambda: self.sent >= sent)

    def _run(self) -> None:
        while not self._stop.wait(self._pause_s):
            numbers = range(self.sent, self.sent + self._count)
            self._log.append(MEMBER_EVENTS, messages(numbers))
            self._log.append(IMPRESSIONS, impressions(numbers[:2]))
            self.sent += self._count


def wait_for(condition: Callable[[], bool], said: str = "it never came true") -> None:
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends, said
        time.sleep(0.02)


GROUPS = {agent.name: agent.topics for agent in (FeatureAgent, ShownAgent, WarehouseSink)}


def caught_up(log: EventLog, groups: Sequence[str] = tuple(GROUPS)) -> bool:
    places = [
        (group, TopicPartition(topic, partition))
        for group in groups
        for topic in GROUPS[group]
        for partition in range(log.partition_count(topic))
    ]
    return all((log.committed(group, at) or 0) >= log.end_offset(*at) for group, at in places)


def offline(settings: Settings, log: EventLog) -> OfflineStates:
    engine = open_sql(settings)
    catalogue = read_catalogue(engine)
    engine.dispose()
    batches = [*read_epochs(log, MEMBER_EVENTS), *read_epochs(log, IMPRESSIONS)]
    return replay(batches, catalogue, log.epochs(MEMBER_EVENTS))


@contextlib.contextmanager
def workers(settings: Settings, count: int, *, sink: bool = True) -> Iterator[list[Worker]]:
    started = [Worker(settings, sink=sink) for _ in range(count)]
    try:
        yield started
    finally:
        for worker in started:
            worker.stop()


def warehouse_offsets(settings: Settings) -> Counter[tuple[int, int]]:
    table = read_topic(root_of(settings), MEMBER_EVENTS, ["partition", "offset"])
    return Counter(zip(table["partition"].to_pylist(), table["offset"].to_pylist(), strict=True))
