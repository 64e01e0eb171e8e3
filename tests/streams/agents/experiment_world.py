"""What an experiment agent is given in tests: a log, histories as the feature agent leaves them, and exposures."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from streams.agents.experiment_agent import ExperimentAgent
from streams.agents.folded_marks import FoldedMarks
from streams.catalogue import Title
from streams.event_log.protocol import Batch, Record, TopicPartition
from streams.events import Event, encode_event
from streams.experiments.aggregates import Cell, Sums
from streams.experiments.definition import Experiment
from streams.experiments.outcome_store import read_aggregates
from streams.experiments.recompute import StoredExposure, aggregates_of
from streams.experiments.tables import experiments_table
from streams.impressions import Exposure, encode_exposure
from streams.positions import pack_position
from streams.stores.protocol import HistoryRow
from streams.stores.sql import upsert, writing
from streams.topics import EXPOSURES, MEMBER_EVENTS
from streams.warehouse import StoredEvent
from tests.streams.agents.state_stores import Letters, MemoryStore, OneEpoch
from tests.streams.experiments.world import DAY_MS, START_MS

EPOCH = 1
EVENTS, SEEN = TopicPartition(MEMBER_EVENTS, 0), TopicPartition(EXPOSURES, 0)


def put(engine: sa.Engine, experiment: Experiment) -> None:
    row = {"id": experiment.definition.id, "status": experiment.status, "revision": experiment.revision}
    value = msgspec.json.encode(experiment).decode()
    with writing(engine) as connection:
        connection.execute(upsert(engine, experiments_table), {**row, "value": value, "updated_at_ms": 0})


class LogOf(OneEpoch):
    """A log of one partition that has the events of a world."""

    def __init__(self, events: list[Event], epoch: int = EPOCH) -> None:
        super().__init__(epoch)
        self._events = events

    def end_offset(self, topic: str, partition: int) -> int:
        return len(self._events)

    def read(self, topic: str, partition: int, offset: int, max_records: int) -> list[Record]:
        batch = _batch(topic, [(each.member_id.encode(), encode_event(each)) for each in self._events], offset, None)
        return list(batch.records[:max_records])


class World:
    """A durable store as the feature agent leaves it, and the records that an agent is given."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self.durable = MemoryStore()
        self.events: list[Event] = []
        self.log = LogOf(self.events)
        self.exposures: list[Exposure] = []
        self.letters = Letters()

    def agent(self) -> ExperimentAgent:
        agent = ExperimentAgent(self.engine, self.durable, self.log, self.letters)
        agent.assigned([EVENTS, SEEN])
        return agent

    def store(self, *events: Event) -> Batch:
        """Have events in the members' histories; return the batch of them."""
        begin = len(self.events)
        self.events += events
        rows = [
            HistoryRow(each.member_id, pack_position(EPOCH, begin + n), each.event_time_ms, each.type, "t", each.value)
            for n, each in enumerate(events)
        ]
        self.durable.append_history(rows)
        marks = FoldedMarks("features", self.durable, self.log)
        marks.take_over([EVENTS])
        marks.put({EVENTS: pack_position(EPOCH, len(self.events) - 1)})
        return self.event_batch(begin)

    def event_batch(self, begin: int, end: int | None = None) -> Batch:
        values = [(each.member_id.encode(), encode_event(each)) for each in self.events]
        return _batch(MEMBER_EVENTS, values, begin, end)

    def exposed(self, *exposures: Exposure) -> Batch:
        begin = len(self.exposures)
        self.exposures += exposures
        return self.exposure_batch(begin)

    def exposure_batch(self, begin: int, end: int | None = None) -> Batch:
        values = [(each.member_id.encode(), encode_exposure(each)) for each in self.exposures]
        return _batch(EXPOSURES, values, begin, end)

    def counted(self, name: str = "rows") -> dict[Cell, Sums]:
        return dict(read_aggregates(self.engine, name)[0])

    def recomputed(self, experiment: Experiment) -> dict[Cell, Sums]:
        exposures = [StoredExposure(pack_position(EPOCH, n), each) for n, each in enumerate(self.exposures)]
        events = [
            StoredEvent(0, pack_position(EPOCH, n), START_MS + 30 * DAY_MS, each) for n, each in enumerate(self.events)
        ]
        return aggregates_of(experiment, exposures, events, TITLES)


TITLES = {"t": Title("t", "A title", 2020, ("Drama",), live_from_ms=0)}


def _batch(topic: str, values: Sequence[tuple[bytes, bytes]], begin: int, end: int | None) -> Batch:
    records = [Record(offset, START_MS + DAY_MS, key, value) for offset, (key, value) in enumerate(values)]
    return Batch(topic, 0, EPOCH, records[begin:end])


def play(number: int, member_id: str, at_ms: int, kind: str = "play") -> Event:
    return Event(f"e{number}", kind, member_id, at_ms, "t", value=3.0 if kind == "rate" else None)  # type: ignore[arg-type]  # one of the types
