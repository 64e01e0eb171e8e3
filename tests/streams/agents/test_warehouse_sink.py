"""The warehouse sink: every record once, whoever dies and whatever is delivered again."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import warehouse
from streams.agents import warehouse_sink
from streams.agents.warehouse_sink import WarehouseSink, open_sink
from streams.errors import TryAgain
from streams.event_log.open import open_event_log
from streams.event_log.protocol import Batch, Message, Record, TopicPartition
from streams.settings import Settings
from streams.topics import IMPRESSIONS, MEMBER_EVENTS
from streams.warehouse import list_files, read_topic
from tests.streams.agents.state_stores import OneEpoch
from tests.streams.warehouse_records import DAY, DAY_MS, NOON_MS, record, records

FLUSH_RECORDS = 10
FLUSH_S = 10.0
PLACE = TopicPartition(MEMBER_EVENTS, 0)


def _sink(root: Path, epoch: int = 1) -> WarehouseSink:
    return WarehouseSink(root, OneEpoch(epoch, 2), FLUSH_RECORDS, FLUSH_S)


def _batch(offsets: Iterable[int], epoch: int = 1, place: TopicPartition = PLACE) -> Batch:
    return Batch(*place, epoch, records(offsets))


def _offsets(root: Path) -> list[int]:
    offsets: list[int] = read_topic(root, MEMBER_EVENTS, ["offset"]).column("offset").to_pylist()
    return offsets


def test_nothing_is_written_before_it_is_due_and_everything_once_it_is(tmp_path: Path) -> None:
    sink = _sink(tmp_path)
    assert sink.assigned([PLACE]) == {PLACE: 0}
    sink.process(_batch(range(3)))
    assert sink.flush(1_000) == {}
    assert sink.flush(10_999) == {}
    assert sink.flush(11_000) == {PLACE: 3}
    assert _offsets(tmp_path) == [0, 1, 2]
    assert sink.flush(99_000) == {}
    sink.process(_batch(range(3, 4)))
    assert sink.flush(99_000) == {}
    assert sink.flush(109_000) == {PLACE: 4}


def test_enough_records_are_written_at_once(tmp_path: Path) -> None:
    sink = _sink(tmp_path)
    sink.process(_batch(range(FLUSH_RECORDS)))
    assert sink.flush(0) == {PLACE: FLUSH_RECORDS}


def test_partitions_are_written_apart(tmp_path: Path) -> None:
    sink = _sink(tmp_path)
    other = TopicPartition(IMPRESSIONS, 3)
    sink.process(_batch(range(FLUSH_RECORDS)))
    sink.process(Batch(*other, 1, [Record(0, NOON_MS, b"", b"bad")]))
    assert sink.flush(0) == {PLACE: FLUSH_RECORDS}
    assert sink.flush(10_000) == {other: 1}


def test_redelivered_records_are_taken_once(tmp_path: Path) -> None:
    sink = _sink(tmp_path)
    sink.process(_batch(range(6)))
    sink.process(_batch(range(6)))
    sink.process(_batch(range(4, 12)))
    assert sink.flush(0) == {PLACE: 12}
    sink.process(_batch(range(12)))
    assert sink.flush(99_000) == {}
    assert _offsets(tmp_path) == list(range(12))


def test_a_new_sink_reads_on_after_the_files_whatever_was_committed(tmp_path: Path) -> None:
    first = _sink(tmp_path)
    first.process(_batch(range(10)))
    first.flush(0)
    first.process(_batch(range(10, 15)))
    second = _sink(tmp_path)
    assert second.assigned([PLACE, TopicPartition(MEMBER_EVENTS, 1)]) == {
        PLACE: 10,
        TopicPartition(MEMBER_EVENTS, 1): 0,
    }
    second.process(_batch(range(5, 20)))
    second.flush(0)
    assert _offsets(tmp_path) == list(range(20))


def test_a_sink_that_lost_its_partition_and_writes_all_the_same_doubles_nothing(tmp_path: Path) -> None:
    zombie, successor = _sink(tmp_path), _sink(tmp_path)
    for sink, offsets in ((zombie, range(15)), (successor, range(11))):
        sink.assigned([PLACE])
        sink.process(_batch(offsets))
    successor.flush(0)
    zombie.flush(0)
    successor.process(_batch(range(11, 25)))
    successor.flush(0)
    assert len(list_files(tmp_path, MEMBER_EVENTS)) == 3
    assert _offsets(tmp_path) == list(range(25))


def test_what_is_held_of_a_lost_partition_is_dropped(tmp_path: Path) -> None:
    sink = _sink(tmp_path)
    sink.process(_batch(range(10)))
    sink.revoked([PLACE, TopicPartition(MEMBER_EVENTS, 7)])
    assert sink.flush(99_000) == {}
    assert _offsets(tmp_path) == []
    assert sink.assigned([PLACE]) == {PLACE: 0}


def test_a_closed_sink_has_written_what_it_held(tmp_path: Path) -> None:
    sink = _sink(tmp_path)
    sink.process(_batch(range(3)))
    sink.close()
    assert _offsets(tmp_path) == [0, 1, 2]


def test_a_disk_that_takes_nothing_loses_nothing_and_bounds_what_is_held(tmp_path: Path) -> None:
    root = tmp_path / "warehouse"
    root.write_text("a file where the folder should be")
    sink = _sink(root)
    sink.process(_batch(range(15)))
    with pytest.raises(TryAgain):
        sink.flush(0)
    sink.process(_batch(range(15, 25)))
    with pytest.raises(TryAgain, match="wait to be written"):
        sink.process(_batch(range(25, 30)))
    sink.process(_batch(range(25)))
    with pytest.raises(TryAgain):
        sink.flush(0)
    root.unlink()
    assert sink.flush(0) == {PLACE: 25}
    sink.process(_batch(range(25, 30)))
    sink.close()
    assert _offsets(root) == list(range(30))


def test_closing_over_a_dead_disk_leaves_the_records_to_the_next_sink(tmp_path: Path) -> None:
    (tmp_path / "warehouse").write_text("")
    sink = _sink(tmp_path / "warehouse")
    sink.process(_batch(range(3)))
    sink.close()


def test_a_recreated_topic_is_read_from_its_start(tmp_path: Path) -> None:
    sink = _sink(tmp_path)
    sink.process(_batch(range(5)))
    sink.process(_batch(range(3), epoch=2))
    sink.close()
    assert _offsets(tmp_path) == [0, 1, 2, 3, 4, 0, 1, 2]
    assert _sink(tmp_path, epoch=2).assigned([PLACE]) == {PLACE: 3}
    assert _sink(tmp_path, epoch=3).assigned([PLACE]) == {PLACE: 0}


def test_many_small_files_of_a_day_become_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warehouse_sink, "COMPACT_FILES", 5)
    sink = _sink(tmp_path)
    for offset in range(23):
        sink.process(_batch([offset]))
        sink.flush(0)
        sink.flush(10_000)
    assert len(list_files(tmp_path, MEMBER_EVENTS)) < 6
    assert _offsets(tmp_path) == list(range(23))


def test_a_day_that_is_over_is_left_as_one_file(tmp_path: Path) -> None:
    sink = _sink(tmp_path)
    for offset, timestamp_ms in enumerate([NOON_MS, NOON_MS + 1, NOON_MS + 2, NOON_MS + DAY_MS]):
        sink.process(Batch(*PLACE, 1, [record(offset, timestamp_ms)]))
        sink.flush(0)
        sink.flush(10_000)
    assert [file.last for file in list_files(tmp_path, MEMBER_EVENTS, DAY)] == [2]
    assert _offsets(tmp_path) == [0, 1, 2, 3]


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(1, 15)),
        st.tuples(st.just("flush"), st.just(0)),
        st.tuples(st.just("die"), st.just(0)),
        st.tuples(st.just("redeliver"), st.integers(1, 15)),
    ),
    max_size=20,
)


@settings(max_examples=30, deadline=None)
@given(steps=_steps)
def test_any_order_of_deliveries_and_deaths_ends_with_each_row_once(steps: Sequence[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sink, now_ms = _sink(root), 0
        read_until = sink.assigned([PLACE])[PLACE]
        for what, count in steps:
            if what == "die":
                sink = _sink(root)
                read_until = sink.assigned([PLACE])[PLACE]
            elif what == "flush":
                now_ms += random.Random(now_ms).choice([1_000, 10_000])
                sink.flush(now_ms)
            else:
                start = max(read_until - count, 0) if what == "redeliver" else read_until
                sink.process(_batch(range(start, start + min(count, 2 * FLUSH_RECORDS))))
                read_until = max(read_until, start + count)
                sink.flush(now_ms)
        sink.close()
        assert _offsets(root) == list(range(len(_offsets(root))))


def test_the_sink_of_the_settings_follows_a_real_log(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path, warehouse_flush_records=5)
    log = open_event_log(settings)
    log.append(MEMBER_EVENTS, [Message(one.key, one.value) for one in records(range(20))])
    sink = open_sink(settings, log)
    consumer = log.consumer(sink.name, sink.topics)
    while batches := consumer.poll(7, 0.2):
        for batch in batches:
            sink.process(batch)
        sink.flush(0)
    sink.close()
    consumer.close()
    log.close()
    stored = read_topic(warehouse.root_of(settings), MEMBER_EVENTS, ["event_id"]).column("event_id").to_pylist()
    assert sorted(stored) == sorted(f"e{offset}" for offset in range(20))
