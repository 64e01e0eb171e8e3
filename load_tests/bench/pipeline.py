"""The whole pipeline of the agents, in one process: append, consume, decode, fold, write both stores, commit.

The limit beside it is a bare consumer that reads and decodes the same log and does nothing with it.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.agents.catalogue_source import CatalogueSource
from streams.agents.dead_letters import DeadLetters
from streams.agents.feature_agent import FeatureAgent
from streams.catalogue import GRACE_MS, publish_titles
from streams.event_log.open import ensure_topics, open_event_log
from streams.event_log.protocol import EventLog, Message, TopicPartition
from streams.events import decode_event, encode_event
from streams.importers.dataset import Dataset
from streams.settings import Settings
from streams.stores.open import open_durable, open_hot
from streams.stores.sql import open_sql
from streams.topics import MEMBER_EVENTS

APPEND_BATCH: Final = 2_000
POLL_RECORDS: Final = 2_000
ROUNDS: Final = 3


@dataclass(frozen=True)
class PipelineReport:
    """Medians over rounds, in seconds of wall clock, each round in a folder of its own.

    append: all events into the log, on disk. agent: consumed, decoded, folded, both stores, committed. bare: consumed
    and decoded only. whole: append and agent.
    """

    events: int
    append_s: float
    agent_s: float
    bare_s: float

    @property
    def whole_s(self) -> float:
        """Seconds from the first append to the last commit."""
        return self.append_s + self.agent_s

    @property
    def share_of_bare(self) -> float:
        """The agent's rate as a share of the bare loop's."""
        return self.bare_s / self.agent_s


def measure_pipeline(dataset: Dataset, folder: Path, rounds: int = ROUNDS) -> PipelineReport:
    """Return how long the pipeline takes for a data set; `folder` is used and emptied."""
    samples = [_round(dataset, folder / f"pipeline-{number}") for number in range(rounds)]
    append_s, agent_s, bare_s = (statistics.median(column) for column in zip(*samples, strict=True))
    return PipelineReport(len(dataset.events), append_s, agent_s, bare_s)


def _round(dataset: Dataset, state: Path) -> tuple[float, float, float]:
    settings = Settings(state=state)
    engine = open_sql(settings)
    publish_titles(engine, dataset.titles, time.time_ns() // 1_000_000 - 2 * GRACE_MS)
    log = open_event_log(settings)
    ensure_topics(log, settings)
    hot, durable = open_hot(settings), open_durable(settings)
    agent = FeatureAgent(CatalogueSource(engine), hot, durable, DeadLetters(log), log)
    messages = [Message(event.member_id.encode(), encode_event(event)) for event in dataset.events]
    try:
        append_s = _timed(lambda: _append(log, messages))
        agent_s = _timed(lambda: _run_agent(log, agent, len(messages)))
        bare_s = _timed(lambda: _run_bare(log, len(messages)))
    finally:
        for engine_of_ours in (hot, durable, log):
            engine_of_ours.close()
        engine.dispose()
        shutil.rmtree(state)
    return append_s, agent_s, bare_s


def _timed(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _append(log: EventLog, messages: Sequence[Message]) -> None:
    for first in range(0, len(messages), APPEND_BATCH):
        log.append(MEMBER_EVENTS, messages[first : first + APPEND_BATCH])


def _run_agent(log: EventLog, agent: FeatureAgent, count: int) -> None:
    consumer = log.consumer(agent.name, agent.topics)
    taken = 0
    while taken < count:
        for batch in consumer.poll(POLL_RECORDS, 1.0):
            agent.process(batch)
            taken += len(batch.records)
        consumer.commit(agent.flush(time.time_ns() // 1_000_000))
    agent.close()
    consumer.commit(agent.flush(time.time_ns() // 1_000_000))
    consumer.close()


def _run_bare(log: EventLog, count: int) -> None:
    consumer = log.consumer("bare", [MEMBER_EVENTS])
    taken = 0
    while taken < count:
        for batch in consumer.poll(POLL_RECORDS, 1.0):
            for record in batch.records:
                decode_event(record.value)
            taken += len(batch.records)
            consumer.commit({_place(batch.partition): batch.records[-1].offset + 1})
    consumer.close()


def _place(partition: int) -> TopicPartition:
    return TopicPartition(MEMBER_EVENTS, partition)
