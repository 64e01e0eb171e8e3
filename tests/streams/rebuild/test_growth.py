"""A topic grows while events come in and agents work: nothing is lost, nothing counted twice, whoever folds what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.agents.feature_agent import FeatureAgent
from streams.agents.protocol import NotYet
from streams.catalogue import Catalogue
from streams.errors import TryAgain
from streams.event_log.epochs import read_epochs
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog, Message, TopicPartition
from streams.events import Event, encode_event
from streams.features.member import MEMBER, history
from streams.partitioner import partition_for
from streams.settings import Settings
from streams.stores.open import open_durable, open_hot
from streams.stores.protocol import StateStore
from streams.topics import IMPRESSIONS, MEMBER_EVENTS
from tests.streams.agents.state_stores import Letters, MemoryStore
from tests.streams.rebuild.live import (
    NOW_MS,
    TITLES,
    Producer,
    caught_up,
    messages,
    offline,
    publish,
    wait_for,
    warehouse_offsets,
    workers,
)

CATALOGUE = Catalogue(TITLES)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        state=tmp_path, log_sync=False, session_timeout_ms=2000, partitions=2, warehouse_flush_s=0.2, host="127.0.0.1"
    )


@pytest.fixture
def log(settings: Settings) -> Iterator[EventLog]:
    log = open_event_log(settings)
    yield log
    log.close()


def misplaced(member: str, partitions: int, number: int) -> Message:
    """Return an event of a member under a key that puts it into a partition that is not the member's."""
    own = partition_for(member.encode(), partitions)
    key = next(key for n in range(100) if partition_for(key := b"wrong%d" % n, partitions) != own)
    return Message(key, encode_event(Event(f"wrong-{number}", "play", member, NOW_MS, "t1")))


def assert_as_replayed(settings: Settings, log: EventLog) -> None:
    states = offline(settings, log)
    hot, durable = open_hot(settings), open_durable(settings)
    for kind, expected in states.packed().items():
        for name, store in (("hot", hot), ("durable", durable)):
            found = dict(store.scan(kind))
            assert found.keys() == expected.keys(), (name, kind)
            assert found == expected, (name, kind)
    hot.close()
    durable.close()


def test_events_that_come_while_a_topic_grows_twice_count_once_each(settings: Settings, log: EventLog) -> None:
    publish(settings)
    with workers(settings, 2):
        producer = Producer(log)
        producer.wait_for(150)
        log.grow_topic(MEMBER_EVENTS, 5)
        log.append(MEMBER_EVENTS, [misplaced(f"m{n}", 5, n) for n in range(5)])
        producer.wait_for(400)
        log.grow_topic(MEMBER_EVENTS, 6)
        log.grow_topic(IMPRESSIONS, 3)
        log.append(MEMBER_EVENTS, [misplaced(f"m{n}", 6, 5 + n) for n in range(5)])
        producer.wait_for(700)
        sent = producer.stop()
        wait_for(lambda: caught_up(log), "the agents never caught up")

    states = offline(settings, log)
    assert [one.partitions for one in log.epochs(MEMBER_EVENTS)] == [2, 5, 6]
    assert states.misplaced >= 10, "a producer may learn of a growth a moment late"
    assert_as_replayed(settings, log)
    distinct = {event.value for event in messages(range(sent))}
    durable = open_durable(settings)
    rows = [row for member in durable.member_ids(1000) for row in durable.history(member, 100_000)]
    assert len(rows) == len(distinct) + 10, "each event once, the misplaced ones too"
    durable.close()
    offsets = {(batch.partition, one.offset) for batch in read_epochs(log, MEMBER_EVENTS) for one in batch.records}
    assert warehouse_offsets(settings) == dict.fromkeys(offsets, 1)


def test_platforms_that_start_after_a_growth_go_on_whatever_count_their_settings_name(
    settings: Settings, log: EventLog
) -> None:
    publish(settings)
    log.append(MEMBER_EVENTS, messages(range(100)))
    with workers(settings, 1):
        wait_for(lambda: caught_up(log))
    log.grow_topic(MEMBER_EVENTS, 3)
    again = open_event_log(settings)
    assert again.partition_count(MEMBER_EVENTS) == 3
    again.append(MEMBER_EVENTS, messages(range(100, 200)))
    with workers(settings, 2):
        wait_for(lambda: caught_up(again))
    assert_as_replayed(settings, again)
    again.close()


def agent_over(log: EventLog, hot: StateStore, durable: MemoryStore) -> FeatureAgent:
    agent = FeatureAgent(lambda: CATALOGUE, hot, durable, Letters(), log)
    agent.assigned([])
    return agent


def test_an_agent_waits_at_the_boundary_for_partitions_that_others_fold(settings: Settings, log: EventLog) -> None:
    log.append(MEMBER_EVENTS, messages(range(60)))
    log.grow_topic(MEMBER_EVENTS, 4)
    log.append(MEMBER_EVENTS, messages(range(60, 120)))
    hot, durable = MemoryStore(), MemoryStore()
    batches = list(read_epochs(log, MEMBER_EVENTS))
    old = [batch for batch in batches if batch.epoch == log.epochs(MEMBER_EVENTS)[0].epoch]
    new = [batch for batch in batches if batch not in old]
    mine, others = agent_over(log, hot, durable), agent_over(log, hot, durable)
    places = sorted({(batch.topic, batch.partition) for batch in old})
    assert len(places) == 2
    for agent, batch in ((mine, old[0]), (others, old[1])):
        agent.assigned([next(at for at in _places(log) if at.partition == batch.partition)])
        agent.process(batch)
    mine.write()
    for batch in new:
        with pytest.raises(NotYet, match="waiting at the boundary of epoch 2 for member-events/1"):
            mine.process(batch)
    others.write()
    mine.assigned([at for at in _places(log) if at.partition != old[1].partition])
    for batch in new:
        mine.process(batch)
    mine.write()

    member = MEMBER.unpack(hot.states["member"][b"m7"])
    events = [one for one in range(120) if messages([one])[0].key == b"m7"]
    assert len(history(member)) == len({messages([one])[0].value for one in events})


def _places(log: EventLog) -> list[TopicPartition]:
    return [TopicPartition(MEMBER_EVENTS, partition) for partition in range(log.partition_count(MEMBER_EVENTS))]


def test_a_key_that_comes_back_to_a_partition_is_not_folded_into_what_was_held_of_it(
    settings: Settings, log: EventLog
) -> None:
    """2 -> 3 -> 4 partitions: some members go away and come back to the first agent, which still has their state."""
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(log, hot, durable)
    agent.assigned(_places(log))
    read: dict[int, int] = {}
    for round_number, partitions in enumerate((2, 3, 4)):
        log.grow_topic(MEMBER_EVENTS, partitions)
        log.append(MEMBER_EVENTS, messages(range(round_number * 60, round_number * 60 + 60)))
        agent.assigned([at for at in _places(log) if at.partition not in read])
        for batch in read_epochs(log, MEMBER_EVENTS):
            fresh = [record for record in batch.records if record.offset >= read.get(batch.partition, 0)]
            if fresh:
                agent.process(batch._replace(records=fresh))
        for batch in read_epochs(log, MEMBER_EVENTS):
            read[batch.partition] = batch.records[-1].offset + 1
        agent.write()
    publish(settings)
    expected = offline(settings, log).packed()
    assert hot.states["member"] == durable.states["member"] == expected["member"]
    assert hot.states["title"] == expected["title"]


def test_a_misplaced_record_that_a_dying_agent_has_forwarded_is_forwarded_again_and_counts_once(
    settings: Settings, log: EventLog
) -> None:
    log.append(MEMBER_EVENTS, [misplaced("m1", 2, 0)])
    [batch] = list(read_epochs(log, MEMBER_EVENTS))
    hot, durable = MemoryStore(), MemoryStore()
    dying = agent_over(log, hot, durable)
    durable.away = TryAgain("dying")
    with pytest.raises(TryAgain):
        dying.process(batch)
    dying.process(batch)
    assert sum(len(batch.records) for batch in read_epochs(log, MEMBER_EVENTS)) == 2, "an agent forwards once"
    durable.away = None
    agent = agent_over(log, hot, durable)
    agent.assigned(_places(log))
    agent.process(batch)
    for copies in list(read_epochs(log, MEMBER_EVENTS)):
        agent.process(copies)
    agent.write()

    assert len(history(MEMBER.unpack(hot.states["member"][b"m1"]))) == 1
    assert len(durable.rows) == 1
    publish(settings)
    expected = offline(settings, log)
    assert expected.misplaced == 1
    assert expected.packed()["member"] == hot.states["member"]
