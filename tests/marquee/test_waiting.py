from __future__ import annotations

import socket
from pathlib import Path

import pytest

from marquee.lag import lag, records
from marquee.waiting import probe, wait_until_consumed
from streams import topics
from streams.errors import TryAgain
from streams.event_log.open import open_event_log
from streams.event_log.protocol import Message, TopicPartition
from streams.settings import Settings


def test_lag_is_what_a_group_has_not_committed(tmp_path: Path) -> None:
    log = open_event_log(Settings(state=tmp_path, log_sync=False))
    log.append(topics.MEMBER_EVENTS, [Message(b"%d" % n, b"{}") for n in range(50)])
    assert lag(log, "features", [topics.MEMBER_EVENTS]) == records(log, topics.MEMBER_EVENTS) == 50
    _commit(log, 0.5)
    assert 0 < lag(log, "features", [topics.MEMBER_EVENTS]) < 50
    _commit(log, 1.0)
    assert lag(log, "features", [topics.MEMBER_EVENTS]) == 0
    log.close()


def _commit(log: object, share: float) -> None:
    from streams.event_log.embedded import EmbeddedLog

    assert isinstance(log, EmbeddedLog)
    consumer = log.consumer("features", [topics.MEMBER_EVENTS])
    consumer.poll(1, 0.0)
    ends = {place: log.end_offset(place.topic, place.partition) for place in consumer.assignment()}
    consumer.commit({TopicPartition(*place): int(share * end) for place, end in ends.items()})
    consumer.close()


def test_waiting_for_a_group_that_stands_still_is_bounded(tmp_path: Path) -> None:
    log = open_event_log(Settings(state=tmp_path, log_sync=False))
    log.append(topics.MEMBER_EVENTS, [Message(b"1", b"{}")])
    clock = [0.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    lags: list[int] = []
    with pytest.raises(TryAgain, match="features has stood still for 5 s with 1 records to go"):
        wait_until_consumed(
            log, "features", [topics.MEMBER_EVENTS], lags.append, stall_s=5.0, sleep=sleep, now_s=lambda: clock[0]
        )
    assert clock[0] < 6.0
    assert set(lags) == {1}
    log.close()


def test_a_group_with_nothing_to_do_is_waited_for_no_longer(tmp_path: Path) -> None:
    log = open_event_log(Settings(state=tmp_path, log_sync=False))
    lags: list[int] = []
    wait_until_consumed(log, "features", [topics.MEMBER_EVENTS], lags.append)
    assert lags == [0]
    log.close()


def test_a_port_where_nothing_answers_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert f"no answer on port {port}" in str(probe("127.0.0.1", port))
