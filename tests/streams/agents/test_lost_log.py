"""A log that is lost, with all that it knew of its epochs: what the new one gets is folded, onto what there was."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.agents.lost_log import Known, begin_above
from streams.catalogue import read_catalogue
from streams.event_log.epochs import Epochs, first_epoch, grown, read_epochs
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog, TopicPartition
from streams.features.member import MEMBER
from streams.features.replay import OfflineStates
from streams.features.title import TITLE, TITLE_SHOWN
from streams.settings import Settings
from streams.stores.open import open_durable, open_hot
from streams.stores.sql import open_sql
from streams.topics import IMPRESSIONS, MEMBER_EVENTS
from streams.warehouse import read_topic, root_of
from tests.streams.event_log.kafka_topics import own_prefix
from tests.streams.rebuild.live import PATIENCE_S, Worker, impressions, messages, publish


@pytest.fixture(params=["embedded", "kafka"])
def logs(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """URLs of logs that know nothing of one another."""
    if request.param == "embedded":
        yield ["embedded:log-0", "embedded:log-1", "embedded:log-2"]
    else:
        url = request.getfixturevalue("kafka_url")
        with own_prefix(url) as prefix:
            yield [f"{url}/{prefix}{n}." for n in range(3)]


def test_every_event_of_a_new_log_is_folded_onto_what_the_lost_one_gave(tmp_path: Path, logs: list[str]) -> None:
    base = Settings(state=tmp_path, partitions=2, warehouse_flush_s=0.1)
    publish(base)
    engine = open_sql(base)
    expected = OfflineStates(read_catalogue(engine))
    engine.dispose()
    sent = 0
    for place, url in enumerate(logs):
        settings = base.model_copy(update={"log_url": url})
        log = open_event_log(settings)
        numbers = range(sent, sent + 60 * (place + 1))  # each log is longer than the one before
        log.append(MEMBER_EVENTS, messages(numbers))
        log.append(IMPRESSIONS, impressions(numbers))
        sent = numbers.stop
        worker = Worker(settings)
        ends = time.monotonic() + PATIENCE_S
        while stored(settings) < sent or not caught_up(log):
            assert time.monotonic() < ends
            time.sleep(0.05)
        worker.stop()
        for topic in (MEMBER_EVENTS, IMPRESSIONS):
            assert log.epoch(topic) == place + 1
            for batch in read_epochs(log, topic):
                expected.take(batch)
        log.close()
    for store in (open_hot(base), open_durable(base)):
        for kind in (MEMBER.name, TITLE.name, TITLE_SHOWN.name):
            assert dict(store.scan(kind)) == expected.packed()[kind]
        store.close()
    assert stored(base) == sent


def caught_up(log: EventLog) -> bool:
    return all(
        (log.committed(group, TopicPartition(topic, n)) or 0) == log.end_offset(topic, n)
        for group, topic in (("features", MEMBER_EVENTS), ("shown", IMPRESSIONS))
        for n in range(2)
    )


def stored(settings: Settings) -> int:
    return int(read_topic(root_of(settings), MEMBER_EVENTS, ["offset"]).num_rows)


class Raised:
    """A log's epochs, which may be raised."""

    def __init__(self, epochs: Epochs) -> None:
        self.now = epochs

    def topic_id(self, topic: str) -> str:
        return "b"

    def epochs(self, topic: str) -> Epochs:
        return self.now

    def raise_epoch(self, topic: str, above: int) -> None:
        if self.now[-1].epoch <= above:
            self.now = first_epoch(above + 1, self.now[-1].partitions)


@pytest.mark.parametrize(
    ("known", "epoch"),
    [
        ([], 2),
        ([Known(2, "b"), Known(1, "b")], 2),
        ([Known(1, "a")], 3),
        ([Known(2, ""), Known(1, "")], 2),
        ([Known(5, "a"), Known(4, "b")], 6),
        ([Known(5, "")], 6),
        ([Known(5, "b")], 5),
    ],
)
def test_a_log_begins_above_what_was_stored_of_another_one(known: list[Known], epoch: int) -> None:
    log = Raised(grown(first_epoch(1, 1), 2, 2, [7]))
    begin_above(log, "events", known)
    assert log.now[-1].epoch == epoch
    begin_above(log, "events", known)
    assert log.now[-1].epoch == epoch
