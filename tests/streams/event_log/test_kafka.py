"""The event log on Kafka: the contract, and what is its own: epochs in a topic, retention, what others do to topics."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from streams.errors import Fenced, FixRequest, SlowDown
from streams.event_log.epochs import epoch_at
from streams.event_log.kafka import history
from streams.event_log.kafka.batches import BatchReader
from streams.event_log.kafka.config import config_of
from streams.event_log.kafka.log import KafkaLog
from streams.event_log.protocol import Batch, Message, TopicPartition
from streams.partitioner import partition_for
from streams.positions import pack_position
from streams.settings import Settings
from streams.topics import DEAD_LETTERS
from tests.streams.event_log.contract import (
    PARTITIONS,
    EventLogContract,
    next_offsets,
    numbered,
    poll_until,
    read_all,
    settle,
    values,
)
from tests.streams.event_log.kafka_topics import alter_partitions, own_prefix

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def prefix(kafka_url: str) -> Iterator[str]:
    with own_prefix(kafka_url) as prefix:
        yield prefix


@pytest.fixture
def settings(tmp_path: Path, kafka_url: str, prefix: str) -> Settings:
    url = f"{kafka_url}/{prefix}{next(_numbers)}."
    return Settings(state=tmp_path, log_url=url, session_timeout_ms=600, partitions=1)


class TestKafkaLog(EventLogContract):
    appends_whole_batches = False


@pytest.fixture
def log(settings: Settings) -> Iterator[KafkaLog]:
    """A log with the topic `events` alone."""
    log = KafkaLog(config_of(settings))
    log.create_topic("events", PARTITIONS)
    yield log
    log.close()


def another(log: KafkaLog) -> KafkaLog:
    """Open the same log anew, as another process would."""
    return KafkaLog(log._config)


def in_loop(log: KafkaLog, work: Coroutine[Any, Any, Any]) -> Any:
    return log._thread.run(work)


def kafkas_own(log: KafkaLog, work: Any) -> Any:
    """Do something with a client of Kafka's own."""

    async def run() -> Any:
        return await work(log._config.bootstrap)

    return asyncio.run(run())


# Appends


def test_an_append_of_many_batches_keeps_the_order_of_each_key(log: KafkaLog) -> None:
    messages = [Message(b"key-%d" % (n % 7), b"%d" % n + bytes(500)) for n in range(20_000)]
    places = log.append("events", messages)
    assert sorted({place.partition for place in places}) == sorted(
        {partition_for(message.key, PARTITIONS) for message in messages}
    )
    assert len(set(places)) == len(messages)
    for partition in range(PARTITIONS):
        mine = [message for message in messages if partition_for(message.key, PARTITIONS) == partition]
        offset, found = 0, []
        while records := log.read("events", partition, offset, 7_000):
            found += [record.value for record in records]
            offset = records[-1].offset + 1
        assert found == [message.value for message in mine]


def test_more_than_the_buffer_is_refused_while_others_hold_it(settings: Settings) -> None:
    small = settings.model_copy(update={"kafka_buffer_bytes": 1 << 20})
    log = KafkaLog(config_of(small))
    log.create_topic("events", 1)
    with log._appender.reserved(900_000), pytest.raises(SlowDown) as refusal:
        log.append("events", [Message(b"a", bytes(200_000))])
    assert refusal.value.retry_after_s > 0
    assert log.append("events", [Message(b"a", bytes(1_000_000)) for _ in range(3)])[-1].offset == 2
    log.close()


def test_what_other_producers_write_is_read_and_what_they_abort_is_not(log: KafkaLog) -> None:
    async def write(bootstrap: str) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{log.prefix}transaction")
        await producer.start()
        for number, ends_well in enumerate((True, False, True)):
            await producer.begin_transaction()
            await producer.send(f"{log.prefix}events", b"%d" % number, partition=0)
            await (producer.commit_transaction() if ends_well else producer.abort_transaction())
        await producer.stop()

    kafkas_own(log, write)
    assert [(record.key, record.value) for record in log.read("events", 0, 0, 10)] == [(b"", b"0"), (b"", b"2")]
    consumer = log.consumer("group", ["events"])
    assert values(poll_until(consumer, 2)) == [b"0", b"2"]
    consumer.close()


# Topics


def test_topics_are_kept_as_the_settings_say_and_a_difference_is_told(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    log = KafkaLog(config_of(settings.model_copy(update={"log_retention_ms": 86_400_000, "log_max_bytes": 4 << 20})))
    for topic in ("events", DEAD_LETTERS):
        log.create_topic(topic, PARTITIONS)

    async def configs(bootstrap: str) -> dict[str, str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, f"{log.prefix}events")])
        await admin.close()
        return {entry[0]: entry[1] for entry in answer.resources[0][4]}

    found = kafkas_own(log, configs)
    assert (found["retention.ms"], found["retention.bytes"]) == ("86400000", str(1 << 20))
    assert (found["cleanup.policy"], found["message.timestamp.type"]) == ("delete", "LogAppendTime")
    with caplog.at_level(logging.WARNING):
        log.create_topic("events", PARTITIONS)
        assert not caplog.records
        again = KafkaLog(config_of(settings))
        again.create_topic("events", PARTITIONS)
    assert "otherwise than the settings" in caplog.text
    again.close()
    log.close()


def test_the_topic_of_epochs_cannot_be_taken_for_another(log: KafkaLog) -> None:
    with pytest.raises(FixRequest):
        log.create_topic("marquee-epochs", 1)


# Epochs


def test_openers_at_once_agree_on_the_epoch(log: KafkaLog) -> None:
    log.delete_topic("events")
    log.create_topic("events", PARTITIONS)
    others = [another(log) for _ in range(3)]
    assert {other.epoch("events") for other in others} == {2}
    for other in others:
        other.close()


def test_a_topic_made_by_others_has_an_epoch_and_a_new_one_when_they_make_it_anew(log: KafkaLog) -> None:
    async def recreate(bootstrap: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        await admin.start()
        await admin.delete_topics([f"{log.prefix}events"])
        await admin.close()

    log.append("events", numbered(10))
    kafkas_own(log, recreate)
    log.create_topic("events", 2)
    assert (log.partition_count("events"), log.epoch("events")) == (2, 2)


def test_partitions_added_by_others_begin_an_epoch_and_no_record_is_of_two(log: KafkaLog, kafka_url: str) -> None:
    consumer = log.consumer("group", ["events"])
    log.append("events", numbered(100))
    before = poll_until(consumer, 100)
    ends = tuple(log.end_offset("events", partition) for partition in range(PARTITIONS))
    alter_partitions(kafka_url, f"{log.prefix}events", 6)
    settle([consumer], lambda: len(consumer.assignment()) == 6)
    log.append("events", numbered(100, start=100))
    after = poll_until(consumer, 100)
    assert {batch.epoch for batch in before} == {1}
    assert {batch.epoch for batch in after} == {2}
    assert log.epochs("events")[-1].starts == (*ends, 0, 0)
    consumer.close()


def test_what_is_read_while_a_topic_grows_has_the_epoch_that_the_record_says_later(log: KafkaLog) -> None:
    writing, reading = another(log), another(log)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            writing.append("events", numbered(20, start=number))
            number += 20

    consumer = reading.consumer("group", ["events"])
    poll_until(consumer, 0)
    writer = threading.Thread(target=write)
    writer.start()
    batches = poll_until(consumer, 200)
    for partitions in (5, 7):
        grower = threading.Thread(target=log.grow_topic, args=("events", partitions))
        grower.start()
        while grower.is_alive():
            batches += consumer.poll(1000, 0.01)
        grower.join()
        batches += poll_until(consumer, 200)
    stop.set()
    writer.join()
    batches += poll_until(consumer, sum(log.end_offset("events", n) for n in range(7)) - len(values(batches)))
    epochs = log.epochs("events")
    assert [one.epoch for one in epochs] == [1, 2, 3]
    assert {batch.epoch for batch in batches} == {1, 2, 3}
    for batch in batches:
        assert {epoch_at(epochs, batch.partition, record.offset) for record in batch.records} == {batch.epoch}
    for opened in (writing, reading):
        opened.close()


@pytest.mark.parametrize("done", ["announced", "recorded"])
def test_a_growth_that_was_cut_short_is_finished_by_whoever_comes_next(log: KafkaLog, done: str) -> None:
    log.append("events", numbered(40))
    ends = [log.end_offset("events", partition) for partition in range(PARTITIONS)]
    known = log._book._histories["events"]
    entry = history.growing("events", known, 6)
    in_loop(log, log._book._write(entry))
    if done == "recorded":
        in_loop(log, log._book._write(history.has_grown("events", history.fold(known, entry), tuple(ends))))
    other = another(log)
    assert (other.partition_count("events"), other.epoch("events")) == (6, 2)
    assert other.epochs("events")[-1].starts == (*ends, 0, 0)
    other.append("events", numbered(40, start=40))
    assert sorted(int(record.value) for record in read_all(other, "events")) == list(range(80))
    other.close()


def test_a_new_cluster_begins_above_what_was_stored_of_the_old_one(
    log: KafkaLog, caplog: pytest.LogCaptureFixture
) -> None:
    log.append("events", numbered(10))
    log.raise_epoch("events", 7)
    assert log.epoch("events") == 8
    assert log.epoch_at("events", 0, 0) == 8
    assert "behind what was stored" in caplog.text
    log.raise_epoch("events", 5)
    assert another_epoch(log) == 8
    assert pack_position(8, 0) > pack_position(7, 10)


def another_epoch(log: KafkaLog) -> int:
    other = another(log)
    epoch = other.epoch("events")
    other.close()
    return epoch


def test_records_fetched_before_a_topic_was_recreated_are_not_handed_out_after_it(log: KafkaLog) -> None:
    consumer = log.consumer("group", ["events"])
    log.append("events", numbered(400))
    read = poll_until(consumer, 1, max_records=4)
    log.delete_topic("events")
    log.create_topic("events", PARTITIONS)
    log.append("events", numbered(400, start=1000))
    with pytest.raises(Fenced):
        read += poll_until(consumer, 800, max_records=4)
    assert {batch.epoch for batch in read} == {1}
    again = poll_until(consumer, 400)
    assert min(map(int, values(again))) == 1000
    assert {batch.epoch for batch in again} == {2}
    consumer.close()


# A consumer of another's making (as Faust's)


def test_batches_from_a_consumer_in_another_loop(log: KafkaLog) -> None:
    log.append("events", numbered(100))
    reader = BatchReader(log, ["events"])

    async def read(bootstrap: str) -> tuple[list[bytes], set[int]]:
        await reader.begin()
        consumer = AIOKafkaConsumer(
            f"{log.prefix}events", bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None
        )
        await consumer.start()
        batches: list[Batch] = []
        while len(values(batches)) < 100:
            fetched = await consumer.getmany(timeout_ms=1000)
            batches += await reader.batches(fetched)
        await consumer.stop()
        await asyncio.to_thread(log.delete_topic, "events")
        await asyncio.to_thread(log.create_topic, "events", PARTITIONS)
        with pytest.raises(Fenced):
            await reader.batches(fetched)
        return values(batches), {batch.epoch for batch in batches}

    found, epochs = kafkas_own(log, read)
    assert sorted(map(int, found)) == list(range(100))
    assert epochs == {1}


# Groups


def test_a_member_keeps_what_the_group_leaves_it_and_reads_on_without_a_commit(log: KafkaLog) -> None:
    log.append("events", numbered(100))
    one, two = log.consumer("group", ["events"]), log.consumer("group", ["events"])
    poll_until(one, 100)
    held = [one.assignment()]
    while len(held[-1]) != PARTITIONS // 2:
        two.poll(0, 0.01)
        one.poll(0, 0.01)
        held.append(one.assignment())
    assert all(held[-1] <= one_held for one_held in held)
    log.append("events", numbered(100, start=100))
    fresh: list[bytes] = []
    while not fresh:
        two.poll(0, 0.0)
        fresh = values(one.poll(1000, 0.05))
    assert min(map(int, fresh)) >= 100
    one.close()
    two.close()


def test_a_commit_that_names_no_topic_counts_and_one_of_another_topic_does_not(log: KafkaLog) -> None:
    log.append("events", numbered(100))
    consumer = log.consumer("group", ["events"])
    offsets = next_offsets(poll_until(consumer, 100))
    consumer.commit(offsets)
    consumer.close()
    at = TopicPartition("events", 0)
    assert log.committed("group", at) == offsets[at]
    [(offset, note)] = in_loop(log, log._cluster.committed(f"{log.prefix}group", f"{log.prefix}events", [0])).values()
    assert (offset, note) == (offsets[at], log._views["events"][1].topic_id)
