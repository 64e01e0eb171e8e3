"""Faust's consumer, handing batches over, does what every consumer of the event log must do."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.event_log.kafka.config import config_of
from streams.event_log.protocol import EventLog
from streams.settings import Settings
from tests.streams.agents.faust_members import FaustLog
from tests.streams.event_log.contract import PARTITIONS, EventLogContract, numbered, poll_until, settle, values
from tests.streams.event_log.kafka_topics import own_prefix

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def prefix(kafka_url: str) -> Iterator[str]:
    with own_prefix(kafka_url) as prefix:
        yield prefix


@pytest.fixture
def settings(tmp_path: Path, kafka_url: str, prefix: str) -> Settings:
    url = f"{kafka_url}/{prefix}{next(_numbers)}."
    return Settings(state=tmp_path, log_url=url, session_timeout_ms=600, partitions=1)


@pytest.fixture
def log(settings: Settings) -> Iterator[EventLog]:
    log = FaustLog(config_of(settings))
    log.create_topic(EventLogContract.topic, PARTITIONS)
    yield log
    log.close()


CONTRACT = (
    EventLogContract.test_a_group_reads_a_recreated_topic_from_its_start,
    EventLogContract.test_a_group_starts_at_the_start_and_gets_each_record_once_in_order,
    EventLogContract.test_a_poll_shares_its_records_among_the_partitions,
    EventLogContract.test_no_partition_waits_for_ever_when_a_poll_is_smaller_than_their_number,
    EventLogContract.test_a_poll_never_exceeds_its_bound,
    EventLogContract.test_a_group_resumes_after_its_commit,
    EventLogContract.test_what_is_not_committed_is_delivered_again,
    EventLogContract.test_groups_do_not_disturb_one_another,
    EventLogContract.test_a_consumer_can_read_on_from_elsewhere,
    EventLogContract.test_a_consumer_goes_on_at_the_oldest_record_when_retention_has_passed_it,
    EventLogContract.test_one_member_may_read_several_topics,
    EventLogContract.test_an_append_wakes_a_waiting_poll,
    EventLogContract.test_two_members_share_the_partitions_and_a_leaver_hands_over_at_once,
    EventLogContract.test_a_waiting_poll_returns_when_the_assignment_changes,
    EventLogContract.test_a_newcomer_reads_on_from_the_commit_of_the_member_that_gave_way,
    EventLogContract.test_more_members_than_partitions_leave_some_idle,
    EventLogContract.test_a_frozen_member_is_put_out_and_can_neither_commit_nor_go_on_unawares,
    EventLogContract.test_a_partition_that_is_not_held_can_be_neither_committed_nor_sought,
)
"""Of the log's contract, what is about consumers."""


@pytest.mark.parametrize("test", CONTRACT, ids=lambda test: test.__name__.removeprefix("test_"))
def test_a_faust_consumer(test: object, log: EventLog) -> None:
    test(EventLogContract(), log)  # type: ignore[operator]


def test_members_that_stop_in_the_middle_of_a_rebalance_stop_at_once(log: EventLog) -> None:
    members = [log.consumer("group", [EventLogContract.topic]) for _ in range(4)]
    settle(members, lambda: sum(len(member.assignment()) for member in members) == PARTITIONS)
    started = time.monotonic()
    for member in members:
        member.close()
    assert time.monotonic() - started < 20.0  # Faust would give up on its consumer's thread after 60


def test_a_reader_that_was_away_gets_what_has_come_meanwhile_not_only_what_was_fetched_first(log: EventLog) -> None:
    reader = log.consumer("group", [EventLogContract.topic])
    log.append(EventLogContract.topic, numbered(40))
    poll_until(reader, 40)
    for _ in range(20):  # on a busy machine the second fetch may come too late now and then
        log.append(EventLogContract.topic, numbered(1))
        time.sleep(0.1)  # it is fetched alone
        log.append(EventLogContract.topic, numbered(40, 1))
        time.sleep(0.1)
        taken = values(reader.poll(1000, 1.0))
        if len(taken) == 41:
            break
        poll_until(reader, 41 - len(taken))
    assert sorted(taken) == sorted(b"%d" % n for n in range(41))
    reader.close()


def test_a_second_helping_is_within_the_polls_bound(log: EventLog) -> None:
    reader = log.consumer("group", [EventLogContract.topic])
    log.append(EventLogContract.topic, numbered(100))
    taken: list[bytes] = []
    while len(taken) < 100:
        time.sleep(0.05)
        some = values(reader.poll(7, 1.0))
        assert len(some) <= 7
        taken += some
    assert sorted(taken) == sorted(b"%d" % n for n in range(100))
    reader.close()
