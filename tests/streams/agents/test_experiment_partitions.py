"""Exposures wait for their members' events wherever those lie: topics may have unlike partitions, and grow."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from streams.agents.experiment_agent import ExperimentAgent
from streams.agents.folded_marks import FoldedMarks
from streams.agents.protocol import NotYet
from streams.event_log.epochs import first_epoch, grown
from streams.event_log.protocol import Batch, Epochs, Record, TopicPartition
from streams.events import Event, encode_event
from streams.experiments.outcome_store import read_aggregates
from streams.impressions import encode_exposure
from streams.partitioner import partition_for
from streams.positions import pack_position
from streams.stores.protocol import HistoryRow
from streams.topics import EXPOSURES, MEMBER_EVENTS
from tests.streams.agents.experiment_world import play, put
from tests.streams.agents.state_stores import Letters, MemoryStore, OneEpoch
from tests.streams.experiments.world import START_MS, an_experiment, an_exposure

MEMBER = next(f"m{n}" for n in range(99) if partition_for(f"m{n}".encode(), 2) == 1)
"""Whose events lie in partition 1 of two."""


class GrownLog(OneEpoch):
    """A log whose `member-events` have epochs of their own, and those records that are put there."""

    def __init__(self, epochs: Epochs) -> None:
        super().__init__(1)
        self._event_epochs = epochs
        self.records: dict[int, list[Record]] = {}
        self.ends: dict[int, int] = {}

    def epochs(self, topic: str) -> Epochs:
        return self._event_epochs if topic == MEMBER_EVENTS else super().epochs(topic)

    def put(self, partition: int, event: Event) -> None:
        offset = self.ends.get(partition, 0)
        record = Record(offset, START_MS, event.member_id.encode(), encode_event(event))
        self.records.setdefault(partition, []).append(record)
        self.ends[partition] = offset + 1

    def end_offset(self, topic: str, partition: int) -> int:
        return self.ends.get(partition, 0)

    def read(self, topic: str, partition: int, offset: int, max_records: int) -> list[Record]:
        return [record for record in self.records.get(partition, []) if record.offset >= offset][:max_records]


class Setting:
    """An agent of one partition of exposures, in which MEMBER was seen."""

    def __init__(self, engine: sa.Engine, log: GrownLog) -> None:
        self.engine, self.log, self.durable = engine, log, MemoryStore()
        self.agent = ExperimentAgent(engine, self.durable, log, Letters())
        self.agent.assigned([TopicPartition(EXPOSURES, 0)])
        value = encode_exposure(an_exposure(MEMBER, "control", START_MS))
        self.exposed = Batch(EXPOSURES, 0, 1, [Record(0, START_MS, MEMBER.encode(), value)])

    def fold(self, epoch: int, partition: int, *events: Event) -> None:
        """Have the feature agent write events that are a partition's first ones."""
        rows = [
            HistoryRow(each.member_id, pack_position(epoch, n), each.event_time_ms, each.type, "t", each.value)
            for n, each in enumerate(events)
        ]
        self.durable.append_history(rows)
        marks, place = FoldedMarks("features", self.durable, self.log), TopicPartition(MEMBER_EVENTS, partition)
        marks.take_over([place])
        marks.put({place: pack_position(epoch, len(events) - 1)})

    def plays_before(self) -> float:
        """Return the mean of what members played before their exposure."""
        cells = [each.sums for each in read_aggregates(self.engine, "rows")[0] if each.cell.segment == ""]
        return sum(sums.moments["plays"].mean(2) for sums in cells)


def test_topics_of_unlike_numbers_of_partitions(sql_engine: sa.Engine) -> None:
    put(sql_engine, an_experiment())
    log = GrownLog(first_epoch(1, 2))
    setting = Setting(sql_engine, log)
    log.put(1, play(1, MEMBER, START_MS - 1))
    with pytest.raises(NotYet):
        setting.agent.process(setting.exposed)
    setting.fold(1, 1, play(1, MEMBER, START_MS - 1))
    setting.agent.process(setting.exposed)
    assert setting.plays_before() == 1.0


def test_events_that_had_grown_by_partitions_lie_in_the_former_one_too(sql_engine: sa.Engine) -> None:
    put(sql_engine, an_experiment())
    log = GrownLog(grown(first_epoch(1, 1), 2, 2, [1]))
    setting = Setting(sql_engine, log)
    log.put(0, play(1, MEMBER, START_MS - 2))
    log.put(1, play(2, MEMBER, START_MS - 1))
    setting.fold(1, 0, play(1, MEMBER, START_MS - 2))
    with pytest.raises(NotYet):
        setting.agent.process(setting.exposed)
    setting.fold(2, 1, play(2, MEMBER, START_MS - 1))
    setting.agent.process(setting.exposed)
    assert setting.plays_before() == 2.0


def test_what_retention_has_taken_is_not_waited_for(sql_engine: sa.Engine) -> None:
    put(sql_engine, an_experiment())
    log = GrownLog(first_epoch(1, 2))
    log.ends[1] = 1_000
    setting = Setting(sql_engine, log)
    setting.agent.process(setting.exposed)
    assert setting.plays_before() == 0.0


def test_events_of_a_topic_made_anew_while_exposures_wait_are_no_more_than_there_are(sql_engine: sa.Engine) -> None:
    put(sql_engine, an_experiment())
    log = GrownLog(first_epoch(1, 2))
    for number in range(3):
        log.put(1, play(number, MEMBER, START_MS - 1))
    setting = Setting(sql_engine, log)
    with pytest.raises(NotYet):
        setting.agent.process(setting.exposed)
    log.records, log.ends = {}, {}
    log.put(1, play(9, MEMBER, START_MS - 1))
    with pytest.raises(NotYet):
        setting.agent.process(setting.exposed)
    setting.fold(1, 1, play(9, MEMBER, START_MS - 1))
    setting.agent.process(setting.exposed)
    assert setting.plays_before() == 1.0
