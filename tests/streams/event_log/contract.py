"""What every event log engine must do. An engine's test class inherits from EventLogContract and gives `settings`."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from streams.errors import Fenced, FixRequest
from streams.event_log.open import open_event_log
from streams.event_log.protocol import Batch, Consumer, EventLog, Message, Record, TopicPartition
from streams.partitioner import partition_for
from streams.positions import pack_position
from streams.settings import Settings
from tests.streams.event_log import processes

PARTITIONS = 4
PATIENCE_S = 10.0
KEYS = [b"member-%d" % n for n in range(40)]


def numbered(count: int, start: int = 0) -> list[Message]:
    return [Message(KEYS[n % len(KEYS)], b"%d" % n) for n in range(start, start + count)]


def values(batches: list[Batch]) -> list[bytes]:
    return [record.value for batch in batches for record in batch.records]


def next_offsets(batches: list[Batch]) -> dict[TopicPartition, int]:
    return {TopicPartition(b.topic, b.partition): b.records[-1].offset + 1 for b in batches}


def read_all(log: EventLog, topic: str) -> list[Record]:
    found: list[Record] = []
    for partition in range(log.partition_count(topic)):
        offset = log.start_offset(topic, partition)
        while records := log.read(topic, partition, offset, 500):
            found += records
            offset = records[-1].offset + 1
    return found


def poll_until(consumer: Consumer, count: int, max_records: int = 1000) -> list[Batch]:
    """Poll until `count` records came."""
    batches: list[Batch] = []
    ends = time.monotonic() + PATIENCE_S
    while len(values(batches)) < count:
        assert time.monotonic() < ends, f"{len(values(batches))} of {count} records came"
        batches += consumer.poll(max_records, 0.05)
    return batches


def settle(consumers: list[Consumer], done: Callable[[], bool]) -> None:
    """Poll all in turn, without reading, until `done`."""
    ends = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < ends, [consumer.assignment() for consumer in consumers]
        for consumer in consumers:
            consumer.poll(0, 0.01)


class EventLogContract:
    """The contract; the tests use the protocol alone."""

    topic = "events"
    appends_whole_batches = True
    """Whether of an append that a crash cut short nothing is in the log; otherwise some partitions' part may be."""

    @pytest.fixture
    def log(self, settings: Settings) -> Iterator[EventLog]:
        log = open_event_log(settings)
        log.create_topic(self.topic, PARTITIONS)
        yield log
        log.close()

    @pytest.fixture
    def workers(self, settings: Settings) -> Iterator[Callable[..., processes.Worker]]:
        started: list[processes.Worker] = []

        def start(*arguments: str) -> processes.Worker:
            started.append(processes.start(settings, *arguments))
            return started[-1]

        yield start
        for worker in started:
            processes.kill(worker)

    # Topics

    def test_creating_a_topic_again_changes_nothing(self, log: EventLog) -> None:
        log.append(self.topic, numbered(10))
        log.create_topic(self.topic, PARTITIONS)
        assert log.partition_count(self.topic) == PARTITIONS
        assert len(read_all(log, self.topic)) == 10

    def test_a_topic_cannot_change_its_partition_count(self, log: EventLog) -> None:
        with pytest.raises(FixRequest):
            log.create_topic(self.topic, PARTITIONS + 1)

    @pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "x" * 300])
    def test_a_topic_needs_a_lawful_name(self, log: EventLog, name: str) -> None:
        with pytest.raises(FixRequest):
            log.create_topic(name, 1)

    def test_an_unknown_topic_is_refused_by_name(self, log: EventLog) -> None:
        for call in (
            lambda: log.append("nowhere", numbered(1)),
            lambda: log.read("nowhere", 0, 0, 1),
            lambda: log.partition_count("nowhere"),
            lambda: log.epoch("nowhere"),
            lambda: log.consumer("group", ["nowhere"]),
        ):
            with pytest.raises(FixRequest, match="nowhere"):
                call()

    def test_a_partition_outside_the_topic_is_refused(self, log: EventLog) -> None:
        for partition in (-1, PARTITIONS):
            with pytest.raises(FixRequest):
                log.read(self.topic, partition, 0, 1)

    def test_a_recreated_topic_is_empty_and_its_positions_are_higher(self, log: EventLog) -> None:
        log.append(self.topic, numbered(100))
        before = pack_position(log.epoch(self.topic), log.end_offset(self.topic, 0))
        log.delete_topic(self.topic)
        with pytest.raises(FixRequest):
            log.end_offset(self.topic, 0)
        log.create_topic(self.topic, PARTITIONS)
        assert read_all(log, self.topic) == []
        assert pack_position(log.epoch(self.topic), 0) > before

    def test_a_group_reads_a_recreated_topic_from_its_start(self, log: EventLog) -> None:
        log.append(self.topic, numbered(50))
        consumer = log.consumer("group", [self.topic])
        consumer.commit(next_offsets(poll_until(consumer, 50)))
        log.delete_topic(self.topic)
        log.create_topic(self.topic, PARTITIONS)
        log.append(self.topic, numbered(5))
        with pytest.raises(Fenced):
            poll_until(consumer, 5)
        batches = poll_until(consumer, 5)
        assert sorted(values(batches)) == [b"0", b"1", b"2", b"3", b"4"]
        assert {batch.epoch for batch in batches} == {log.epoch(self.topic)}
        assert all(log.committed("group", TopicPartition(self.topic, n)) is None for n in range(PARTITIONS))
        consumer.close()

    # Appending and reading

    def test_messages_land_where_kafka_would_put_them_in_the_order_of_appends(self, log: EventLog) -> None:
        first = log.append(self.topic, numbered(100))
        second = log.append(self.topic, numbered(100, start=100))
        for message, place in zip(numbered(200), first + second, strict=True):
            assert place.partition == partition_for(message.key, PARTITIONS)
            [record] = log.read(self.topic, place.partition, place.offset, 1)
            assert record.offset == place.offset
            assert (record.key, record.value) == message
        for partition in range(PARTITIONS):
            records = log.read(self.topic, partition, 0, 1000)
            assert [record.offset for record in records] == list(range(log.end_offset(self.topic, partition)))
            assert sorted(records, key=lambda record: int(record.value)) == records

    def test_append_times_do_not_fall(self, log: EventLog) -> None:
        before_ms = time.time_ns() // 1_000_000 - 1
        for n in range(20):
            log.append(self.topic, [Message(b"a", b"%d" % n)])
        stamps = [record.timestamp_ms for record in log.read(self.topic, partition_for(b"a", PARTITIONS), 0, 100)]
        assert stamps == sorted(stamps)
        assert before_ms <= stamps[0] <= stamps[-1] <= time.time_ns() // 1_000_000 + 1

    def test_keys_and_values_may_be_any_bytes(self, log: EventLog) -> None:
        messages = [
            Message(b"", b""),
            Message(b"\x00\xff" * 300, bytes(range(256))),
            Message("Amélie".encode(), b"\x00" * 100_000),
            Message(b"k" * 100_000, b"v"),
        ]
        log.append(self.topic, messages)
        assert {(record.key, record.value) for record in read_all(log, self.topic)} == set(messages)

    def test_appending_nothing_is_nothing(self, log: EventLog) -> None:
        assert log.append(self.topic, []) == []

    def test_a_message_that_no_log_would_take_is_refused_and_so_are_those_beside_it(self, log: EventLog) -> None:
        with pytest.raises(FixRequest):
            log.append(self.topic, [*numbered(3), Message(b"huge", bytes(10 << 20)), *numbered(3)])
        assert read_all(log, self.topic) == []

    def test_reading_past_the_end_gives_nothing(self, log: EventLog) -> None:
        log.append(self.topic, numbered(10))
        assert log.read(self.topic, 0, log.end_offset(self.topic, 0), 10) == []
        assert log.read(self.topic, 0, 10**9, 10) == []

    def test_what_one_handle_appends_another_reads(self, log: EventLog, settings: Settings) -> None:
        other = open_event_log(settings)
        log.append(self.topic, numbered(10))
        assert len(read_all(other, self.topic)) == 10
        other.close()
        assert len(read_all(log, self.topic)) == 10

    def test_records_outlive_the_handle(self, log: EventLog, settings: Settings) -> None:
        log.append(self.topic, numbered(10))
        before = read_all(log, self.topic)
        log.close()
        again = open_event_log(settings)
        assert read_all(again, self.topic) == before
        again.close()

    def test_deleted_records_move_the_start_and_never_the_end(self, log: EventLog) -> None:
        log.append(self.topic, [Message(b"a", b"%d" % n) for n in range(10)])
        partition = partition_for(b"a", PARTITIONS)
        assert log.delete_records(self.topic, partition, 4) == 4
        assert (log.start_offset(self.topic, partition), log.end_offset(self.topic, partition)) == (4, 10)
        assert [record.value for record in log.read(self.topic, partition, 0, 2)] == [b"4", b"5"]
        assert log.delete_records(self.topic, partition, 100) == 6
        assert (log.start_offset(self.topic, partition), log.end_offset(self.topic, partition)) == (10, 10)
        assert log.append(self.topic, [Message(b"a", b"10")]) == [(partition, 10)]

    # Consumer groups

    def test_a_group_starts_at_the_start_and_gets_each_record_once_in_order(self, log: EventLog) -> None:
        log.append(self.topic, numbered(300))
        consumer = log.consumer("group", [self.topic])
        batches = poll_until(consumer, 300, max_records=50)
        assert sorted(map(int, values(batches))) == list(range(300))
        offsets: Counter[int] = Counter()
        for batch in batches:
            assert [record.offset for record in batch.records] == [
                offsets[batch.partition] + n for n in range(len(batch.records))
            ]
            offsets[batch.partition] += len(batch.records)
            assert batch.epoch == log.epoch(self.topic)
        consumer.close()

    def test_a_poll_shares_its_records_among_the_partitions(self, log: EventLog) -> None:
        log.append(self.topic, numbered(2000))
        consumer = log.consumer("group", [self.topic])
        poll_until(consumer, 1, max_records=40)
        batches = consumer.poll(40, 1.0)
        assert {batch.partition: len(batch.records) for batch in batches} == dict.fromkeys(range(PARTITIONS), 10)
        consumer.close()

    def test_no_partition_waits_for_ever_when_a_poll_is_smaller_than_their_number(self, log: EventLog) -> None:
        log.append(self.topic, numbered(400))
        consumer = log.consumer("group", [self.topic])
        batches = [batch for _ in range(4 * PARTITIONS) for batch in poll_until(consumer, 1, max_records=1)]
        assert Counter(batch.partition for batch in batches) == dict.fromkeys(range(PARTITIONS), 4)
        consumer.close()

    def test_a_poll_never_exceeds_its_bound(self, log: EventLog) -> None:
        log.append(self.topic, numbered(100))
        consumer = log.consumer("group", [self.topic])
        left = 100
        while left > 0:
            batches = poll_until(consumer, 1, max_records=7)
            assert len(values(batches)) <= 7
            left -= len(values(batches))
        assert consumer.poll(7, 0.01) == []
        consumer.close()

    def test_a_group_resumes_after_its_commit(self, log: EventLog) -> None:
        log.append(self.topic, numbered(100))
        consumer = log.consumer("group", [self.topic])
        consumer.commit(next_offsets(poll_until(consumer, 100)))
        consumer.close()
        log.append(self.topic, numbered(10, start=100))
        again = log.consumer("group", [self.topic])
        assert sorted(map(int, values(poll_until(again, 10)))) == list(range(100, 110))
        again.close()

    def test_what_is_not_committed_is_delivered_again(self, log: EventLog) -> None:
        log.append(self.topic, numbered(100))
        consumer = log.consumer("group", [self.topic])
        poll_until(consumer, 100)
        consumer.close()
        again = log.consumer("group", [self.topic])
        assert len(values(poll_until(again, 100))) == 100
        again.close()

    def test_groups_do_not_disturb_one_another(self, log: EventLog) -> None:
        log.append(self.topic, numbered(20))
        one, other = log.consumer("one", [self.topic]), log.consumer("other", [self.topic])
        one.commit(next_offsets(poll_until(one, 20)))
        assert len(values(poll_until(other, 20))) == 20
        assert log.committed("other", TopicPartition(self.topic, 0)) is None
        one.close()
        other.close()

    def test_a_commit_is_seen_by_all_and_does_not_go_back(self, log: EventLog, settings: Settings) -> None:
        log.append(self.topic, numbered(100))
        consumer = log.consumer("group", [self.topic])
        poll_until(consumer, 100)
        partition = TopicPartition(self.topic, 1)
        consumer.commit({partition: 9})
        consumer.commit({partition: 5})
        other = open_event_log(settings)
        assert other.committed("group", partition) == 9
        other.close()
        consumer.close()

    def test_a_consumer_can_read_on_from_elsewhere(self, log: EventLog) -> None:
        log.append(self.topic, [Message(b"a", b"%d" % n) for n in range(10)])
        partition = TopicPartition(self.topic, partition_for(b"a", PARTITIONS))
        consumer = log.consumer("group", [self.topic])
        poll_until(consumer, 10)
        consumer.seek(partition, 7)
        assert values(poll_until(consumer, 3)) == [b"7", b"8", b"9"]
        consumer.seek(partition, 2)
        assert values(poll_until(consumer, 8))[0] == b"2"
        consumer.close()

    def test_a_consumer_goes_on_at_the_oldest_record_when_retention_has_passed_it(self, log: EventLog) -> None:
        log.append(self.topic, [Message(b"a", b"%d" % n) for n in range(10)])
        consumer = log.consumer("group", [self.topic])
        poll_until(consumer, 2, max_records=2)
        partition = TopicPartition(self.topic, partition_for(b"a", PARTITIONS))
        log.delete_records(*partition, 6)
        consumer.seek(partition, 2)  # an engine may have fetched ahead
        assert values(poll_until(consumer, 4)) == [b"6", b"7", b"8", b"9"]
        consumer.close()

    def test_one_member_may_read_several_topics(self, log: EventLog) -> None:
        log.create_topic("pages", 2)
        log.append(self.topic, numbered(10))
        log.append("pages", numbered(10))
        consumer = log.consumer("group", [self.topic, "pages"])
        batches = poll_until(consumer, 20)
        assert {batch.topic for batch in batches} == {self.topic, "pages"}
        assert len(consumer.assignment()) == PARTITIONS + 2
        consumer.close()

    def test_an_append_wakes_a_waiting_poll(self, log: EventLog) -> None:
        consumer = log.consumer("group", [self.topic])
        settle([consumer], lambda: len(consumer.assignment()) == PARTITIONS)
        timer = threading.Timer(0.05, log.append, [self.topic, numbered(1)])
        timer.start()
        started = time.monotonic()
        assert values(consumer.poll(10, PATIENCE_S)) == [b"0"]
        assert time.monotonic() - started < PATIENCE_S / 2
        timer.join()
        consumer.close()

    # Rebalancing

    def test_two_members_share_the_partitions_and_a_leaver_hands_over_at_once(self, log: EventLog) -> None:
        one, two = log.consumer("group", [self.topic]), log.consumer("group", [self.topic])
        settle([one, two], lambda: len(one.assignment()) == len(two.assignment()) == PARTITIONS // 2)
        assert one.assignment() | two.assignment() == {TopicPartition(self.topic, n) for n in range(PARTITIONS)}
        assert not one.assignment() & two.assignment()
        two.close()
        settle([one], lambda: len(one.assignment()) == PARTITIONS)
        one.close()

    def test_a_waiting_poll_returns_when_the_assignment_changes(self, log: EventLog) -> None:
        one, two = log.consumer("group", [self.topic]), log.consumer("group", [self.topic])
        settle([one], lambda: len(one.assignment()) == PARTITIONS)
        two.poll(0, 0.0)
        assert one.poll(10, PATIENCE_S) == []
        assert len(one.assignment()) == PARTITIONS // 2
        two.poll(0, 0.0)
        two.close()
        assert one.poll(10, PATIENCE_S) == []
        assert len(one.assignment()) == PARTITIONS
        one.close()

    def test_a_newcomer_reads_on_from_the_commit_of_the_member_that_gave_way(self, log: EventLog) -> None:
        log.append(self.topic, numbered(100))
        one = log.consumer("group", [self.topic])
        one.commit(next_offsets(poll_until(one, 100)))
        two = log.consumer("group", [self.topic])
        settle([one, two], lambda: len(two.assignment()) == PARTITIONS // 2)
        log.append(self.topic, numbered(40, start=100))
        seen = values(poll_until(one, 1)) + values(poll_until(two, 1))
        assert min(map(int, seen)) >= 100
        one.close()
        two.close()

    def test_more_members_than_partitions_leave_some_idle(self, log: EventLog) -> None:
        consumers = [log.consumer("group", [self.topic]) for _ in range(PARTITIONS + 1)]
        settle(consumers, lambda: sum(len(consumer.assignment()) for consumer in consumers) == PARTITIONS)
        settle(consumers, lambda: max(len(consumer.assignment()) for consumer in consumers) == 1)
        assert consumers[-1].poll(1, 0.0) == []
        for consumer in consumers:
            consumer.close()

    def test_a_frozen_member_is_put_out_and_can_neither_commit_nor_go_on_unawares(self, log: EventLog) -> None:
        log.append(self.topic, numbered(100))
        frozen, other = log.consumer("group", [self.topic]), log.consumer("group", [self.topic])
        read = poll_until(frozen, 100)
        settle([other], lambda: len(other.assignment()) == PARTITIONS)
        with pytest.raises(Fenced):
            frozen.commit(next_offsets(read))
        with pytest.raises(Fenced):
            frozen.poll(1, 0.5)
        assert log.committed("group", TopicPartition(self.topic, 0)) is None
        again: set[bytes] = set()  # whoever has a partition reads it anew: the one put out may be back by now

        def all_came() -> bool:
            for consumer in (other, frozen):
                again.update(values(consumer.poll(1000, 0.05)))
            return len(again) == 100

        settle([], all_came)
        settle([frozen, other], lambda: len(frozen.assignment()) == PARTITIONS // 2)
        frozen.close()
        other.close()

    def test_a_partition_that_is_not_held_can_be_neither_committed_nor_sought(self, log: EventLog) -> None:
        consumer = log.consumer("group", [self.topic])
        with pytest.raises(Fenced):
            consumer.commit({TopicPartition(self.topic, 0): 1})
        with pytest.raises(Fenced):
            consumer.seek(TopicPartition(self.topic, 0), 1)
        consumer.close()

    # Several processes, and their deaths

    def test_the_partitions_of_a_killed_process_are_taken_over(
        self, log: EventLog, workers: Callable[..., processes.Worker]
    ) -> None:
        worker = workers("consume", self.topic, "group")
        while processes.read_line(worker) != "0 1 2 3":
            pass
        consumer = log.consumer("group", [self.topic])
        settle([consumer], lambda: len(consumer.assignment()) == PARTITIONS // 2)
        processes.kill(worker)
        settle([consumer], lambda: len(consumer.assignment()) == PARTITIONS)
        consumer.close()

    def test_appends_of_several_processes_lose_nothing(
        self, log: EventLog, workers: Callable[..., processes.Worker]
    ) -> None:
        names = ["ann", "bob", "cem"]
        running = [workers("append", self.topic, name, "60", "5") for name in names]
        assert [worker.wait(60) for worker in running] == [0, 0, 0]
        found = [record.value.decode().split() for record in read_all(log, self.topic)]
        for name in names:
            assert [int(n) for who, n in found if who == name] == list(range(300))

    def test_a_writer_killed_at_any_moment_leaves_all_that_was_acknowledged_and_at_most_one_append_more(
        self, log: EventLog, workers: Callable[..., processes.Worker]
    ) -> None:
        size, rng = 9, random.Random(7)
        for attempt in range(3):
            topic = f"kill-{attempt}"
            log.create_topic(topic, PARTITIONS)
            worker = workers("append_forever", topic, str(size))
            acknowledged = int(processes.read_line(worker))
            time.sleep(rng.uniform(0.0, 0.1))
            worker.kill()
            assert worker.stdout is not None
            acknowledged = max([acknowledged, *(int(line) for line in worker.stdout if line.endswith("\n"))])
            found = Counter(int(record.value.split()[0]) for record in read_all(log, topic))
            whole = len(found) if self.appends_whole_batches else acknowledged + 1
            assert [found[number] for number in range(whole)] == [size] * whole
            assert len(found) in (acknowledged + 1, acknowledged + 2)
            log.append(topic, numbered(1))

    # Another log

    def test_a_raised_epoch_is_that_of_all_records_and_nothing_read_before_counts(
        self, log: EventLog, settings: Settings
    ) -> None:
        other = open_event_log(settings)
        consumer = other.consumer("group", [self.topic])
        log.append(self.topic, numbered(20))
        consumer.commit(next_offsets(poll_until(consumer, 20)))
        log.grow_topic(self.topic, 2 * PARTITIONS)
        made = log.topic_id(self.topic)
        log.raise_epoch(self.topic, 7)
        raised = log.epochs(self.topic)
        assert [(one.epoch, one.partitions, set(one.starts)) for one in raised] == [(8, 2 * PARTITIONS, {0})]
        log.raise_epoch(self.topic, 5)
        assert other.epochs(self.topic) == log.epochs(self.topic) == raised
        assert made == log.topic_id(self.topic) == other.topic_id(self.topic) != ""
        assert log.committed("group", TopicPartition(self.topic, 0)) is None
        other.append(self.topic, numbered(20, start=20))
        with pytest.raises(Fenced):
            poll_until(consumer, 40)
        batches = poll_until(consumer, 40)
        assert sorted(map(int, values(batches))) == list(range(40))
        assert {batch.epoch for batch in batches} == {8}
        other.close()
        log.delete_topic(self.topic)
        with pytest.raises(FixRequest):
            log.raise_epoch(self.topic, 9)
        log.create_topic(self.topic, PARTITIONS)
        assert log.epoch(self.topic) > 8
        assert log.topic_id(self.topic) != made

    # Growth

    def test_growth_begins_an_epoch_at_the_end_of_each_partition(self, log: EventLog, settings: Settings) -> None:
        before = log.epoch(self.topic)
        log.append(self.topic, numbered(60))
        ends = [log.end_offset(self.topic, partition) for partition in range(PARTITIONS)]
        log.grow_topic(self.topic, 2 * PARTITIONS)
        after = log.epoch(self.topic)

        assert (log.partition_count(self.topic), after > before) == (2 * PARTITIONS, True)
        assert [(one.epoch, one.partitions) for one in log.epochs(self.topic)] == [
            (before, PARTITIONS),
            (after, 2 * PARTITIONS),
        ]
        assert log.epochs(self.topic)[-1].starts == (*ends, *[0] * PARTITIONS)
        for partition, end in enumerate(ends):
            assert log.epoch_at(self.topic, partition, end) == after
            assert end == 0 or log.epoch_at(self.topic, partition, end - 1) == before
        assert log.epoch_at(self.topic, PARTITIONS, 0) == after
        other = open_event_log(settings)
        assert other.epochs(self.topic) == log.epochs(self.topic)
        other.close()

    def test_growth_is_refused_where_it_would_shrink_and_nothing_where_nothing_grows(self, log: EventLog) -> None:
        before = log.epochs(self.topic)
        log.grow_topic(self.topic, PARTITIONS)
        assert log.epochs(self.topic) == before
        with pytest.raises(FixRequest):
            log.grow_topic(self.topic, PARTITIONS - 1)
        with pytest.raises(FixRequest):
            log.grow_topic("nowhere", 8)

    def test_after_a_growth_every_open_log_places_keys_by_the_new_count(
        self, log: EventLog, settings: Settings
    ) -> None:
        other = open_event_log(settings)
        other.append(self.topic, numbered(8))
        log.grow_topic(self.topic, 2 * PARTITIONS)
        messages = numbered(40)
        ends = time.monotonic() + PATIENCE_S
        while other.partition_count(self.topic) != 2 * PARTITIONS:  # an engine may take a moment to tell all
            assert time.monotonic() < ends
            time.sleep(0.05)
        for message, place in zip(messages, other.append(self.topic, messages), strict=True):
            assert place.partition == partition_for(message.key, 2 * PARTITIONS)
        other.close()

    def test_batches_end_where_an_epoch_does_and_new_partitions_are_read(self, log: EventLog) -> None:
        before = log.epoch(self.topic)
        log.append(self.topic, numbered(100))
        consumer = log.consumer("group", [self.topic])
        seen = poll_until(consumer, 20, 20)
        log.grow_topic(self.topic, 2 * PARTITIONS)
        log.append(self.topic, numbered(100, 100))
        seen += poll_until(consumer, 200 - len(values(seen)))
        consumer.close()

        assert sorted(map(int, values(seen))) == list(range(200))
        assert {batch.partition for batch in seen} > set(range(PARTITIONS))
        after = log.epoch(self.topic)
        for batch in seen:
            epochs = {log.epoch_at(self.topic, batch.partition, record.offset) for record in batch.records}
            assert epochs == {batch.epoch}
            assert all((int(record.value) >= 100) == (batch.epoch == after) for record in batch.records)
        assert {batch.epoch for batch in seen} == {before, after}

    def test_a_group_goes_on_from_its_commits_after_a_growth(self, log: EventLog) -> None:
        log.append(self.topic, numbered(40))
        consumer = log.consumer("group", [self.topic])
        consumer.commit(next_offsets(poll_until(consumer, 40)))
        consumer.close()
        log.grow_topic(self.topic, PARTITIONS + 1)
        log.append(self.topic, numbered(10, 40))
        consumer = log.consumer("group", [self.topic])
        assert sorted(map(int, values(poll_until(consumer, 10)))) == list(range(40, 50))
        consumer.close()

    def test_a_topic_that_had_grown_has_a_higher_epoch_when_it_is_made_anew(self, log: EventLog) -> None:
        log.grow_topic(self.topic, PARTITIONS + 1)
        grown = log.epoch(self.topic)
        log.delete_topic(self.topic)
        log.create_topic(self.topic, PARTITIONS)
        assert log.epoch(self.topic) > grown
        assert len(log.epochs(self.topic)) == 1
