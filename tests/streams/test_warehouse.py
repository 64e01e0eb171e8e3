"""The warehouse: what is written comes back, each row once, whatever happens to its files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.errors import Corrupt, FixRequest, TryAgain
from streams.event_log.protocol import Record
from streams.events import Event, decode_event, encode_event
from streams.impressions import Exposure, Impression, ShownItem, ShownRow, encode_exposure, encode_impression
from streams.positions import pack_position
from streams.settings import Settings
from streams.topics import DEAD_LETTERS, EXPOSURES, IMPRESSIONS, MEMBER_EVENTS
from streams.warehouse import (
    compact,
    end_positions,
    iter_events,
    list_files,
    read_malformed,
    read_topic,
    root_of,
    to_events,
    to_exposures,
    write_range,
)
from streams.warehouse.forgetting import forget_rows
from streams.warehouse.ranges import day_of, file_name, folder_of
from tests.streams.warehouse_records import DAY, DAY_MS, NOON_MS, event, record, records

ROOT = Path(__file__).parents[2]


def _offsets(root: Path, topic: str = MEMBER_EVENTS) -> list[int]:
    offsets: list[int] = read_topic(root, topic, ["offset"]).column("offset").to_pylist()
    return offsets


def _write(root: Path, *offsets: int, partition: int = 0, epoch: int = 1) -> list[Path]:
    return write_range(root, MEMBER_EVENTS, partition, epoch, records(offsets))


def test_an_empty_warehouse_has_no_rows_but_all_columns(tmp_path: Path) -> None:
    table = read_topic(tmp_path / "missing", MEMBER_EVENTS)
    assert table.num_rows == 0
    assert {"partition", "epoch", "offset", "timestamp_ms", *Event.__struct_fields__} == set(table.column_names)
    assert end_positions(tmp_path, MEMBER_EVENTS) == {}
    assert list(iter_events(tmp_path)) == []
    assert _write(tmp_path) == []


def test_files_lie_by_topic_day_and_partition_and_are_named_by_their_offsets(tmp_path: Path) -> None:
    (path,) = _write(tmp_path, 3, 4, 5, partition=2)
    folder = tmp_path / "member-events" / f"dt={DAY}" / "p=2"
    assert path == folder / "00001-00000000000000000003-00000000000000000005.parquet"


_texts = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)
_events = st.builds(
    Event,
    event_id=_texts,
    type=st.sampled_from(["play", "like", "progress"]),
    member_id=_texts,
    event_time_ms=st.integers(0, 4_000_000_000_000),
    item_id=_texts,
    page_id=st.none() | _texts,
    row_id=st.none() | _texts,
    position=st.none() | st.integers(0, 2**31 - 1),
    value=st.none() | st.floats(-1e9, 1e9),
    context=st.dictionaries(_texts, _texts, max_size=3),
)


@settings(max_examples=25, deadline=None)
@given(events=st.lists(_events, max_size=8))
def test_events_come_back_as_they_went_in(events: list[Event]) -> None:
    stored = [Record(offset, NOON_MS, b"k", encode_event(one)) for offset, one in enumerate(events)]
    with tempfile.TemporaryDirectory() as folder:
        write_range(Path(folder), MEMBER_EVENTS, 1, 2, stored)
        read = list(iter_events(Path(folder)))
    assert [one.event for one in read] == [decode_event(one.value) for one in stored]
    assert [one.position for one in read] == [pack_position(2, offset) for offset in range(len(events))]
    assert {(one.partition, one.timestamp_ms) for one in read} <= {(1, NOON_MS)}


def test_impressions_and_exposures_come_back_with_their_nested_parts_as_json(tmp_path: Path) -> None:
    shown = Impression(
        page_id="p1",
        member_id="m",
        served_at_ms=NOON_MS,
        step="fresh",
        rows=[ShownRow("top_picks", 0, [ShownItem("i1", 0, 0.5, 1.0)])],
        feature_position=pack_position(3, 4),
        state=b"\x00\xffstate",
        variants={"b": "2", "a": "1"},
    )
    exposure = Exposure("exp", "b", "m", "p1", NOON_MS, True)
    write_range(tmp_path, IMPRESSIONS, 0, 1, [Record(0, NOON_MS, b"m", encode_impression(shown))])
    raw = b'{"experiment":"exp","variant":"b","member_id":"m","page_id":"p1","exposed_at_ms":%d,"first":true}' % NOON_MS
    write_range(tmp_path, EXPOSURES, 0, 1, [Record(0, NOON_MS, b"m", raw)])
    (row,) = read_topic(tmp_path, IMPRESSIONS).to_pylist()
    assert row["rows"] == '[{"row_id":"top_picks","row_position":0,"items":[["i1",0,0.5,1.0]]}]'
    assert (row["state"], row["variants"]) == (b"\x00\xffstate", '{"a":"1","b":"2"}')
    assert row["feature_position"] == pack_position(3, 4)
    assert (row["origin_page_id"], row["degraded"], row["page_version"]) == (None, None, "")
    assert row["repeats"] is None
    repeat = Impression("p2", "m", NOON_MS, "fresh", [], origin_page_id="p1", repeats=[("p3", NOON_MS + 1)])
    write_range(tmp_path, IMPRESSIONS, 0, 1, [Record(1, NOON_MS, b"m", encode_impression(repeat))])
    (_, row) = read_topic(tmp_path, IMPRESSIONS).to_pylist()
    assert row["repeats"] == f'[["p3",{NOON_MS + 1}]]'
    (row,) = read_topic(tmp_path, EXPOSURES, list(Exposure.__struct_fields__)).to_pylist()
    assert Exposure(**row) == exposure


def test_exposures_of_files_without_the_newer_columns_have_their_defaults(tmp_path: Path) -> None:
    new = Exposure("exp", "b", "m2", "p2", NOON_MS + 1, False, "stale", "NL", "tv", True, "app")
    old = Exposure("exp", "a", "m1", "p1", NOON_MS, True)
    (path,) = write_range(tmp_path, EXPOSURES, 0, 1, [Record(0, NOON_MS, b"m1", encode_exposure(old))])
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.drop_columns(["step", "country", "device", "forced", "source"]), path)
    write_range(tmp_path, EXPOSURES, 0, 1, [Record(1, NOON_MS, b"m2", encode_exposure(new))])
    assert to_exposures(read_topic(tmp_path, EXPOSURES)) == [old, new]
    assert read_topic(tmp_path, EXPOSURES, ["step"]).column("step").to_pylist() == [None, "stale"]


@pytest.mark.parametrize("topic", [MEMBER_EVENTS, IMPRESSIONS, EXPOSURES])
def test_messages_that_do_not_decode_keep_their_bytes_apart_from_the_rows(tmp_path: Path, topic: str) -> None:
    huge = b'{"exposed_at_ms":1e400,"feature_position":%d}' % 10**30
    bad = [b"", b"not json", b"\xff\xfe", b"[" * 100_000, b"{}", huge]
    write_range(tmp_path, topic, 0, 1, [Record(number, NOON_MS, b"key", raw) for number, raw in enumerate(bad)])
    assert read_topic(tmp_path, topic).num_rows == 0
    table = read_malformed(tmp_path, topic)
    assert table.column("raw").to_pylist() == bad
    assert set(table.column("raw_key").to_pylist()) == {b"key"}
    assert end_positions(tmp_path, topic) == {0: pack_position(1, len(bad) - 1)}


def test_good_messages_beside_bad_ones_are_kept(tmp_path: Path) -> None:
    write_range(tmp_path, MEMBER_EVENTS, 0, 1, [record(0), Record(1, NOON_MS, b"", b"bad"), record(2)])
    assert _offsets(tmp_path) == [0, 2]
    assert to_events(read_topic(tmp_path, MEMBER_EVENTS)) == [event(0), event(2)]


def test_a_range_over_midnight_is_split_by_utc_day(tmp_path: Path) -> None:
    midnight = 20_001 * DAY_MS
    stored = [record(0, midnight - 2), record(1, midnight - 1), record(2, midnight), record(3, midnight + 1)]
    write_range(tmp_path, MEMBER_EVENTS, 0, 1, stored)
    files = [(file.day, file.first, file.last) for file in list_files(tmp_path, MEMBER_EVENTS)]
    assert files == [("2024-10-04", 0, 1), ("2024-10-05", 2, 3)]
    assert _offsets(tmp_path) == [0, 1, 2, 3]


def test_a_clock_set_back_over_midnight_loses_and_doubles_nothing(tmp_path: Path) -> None:
    midnight = 20_001 * DAY_MS
    stored = [record(offset, midnight + (offset % 2 - 1)) for offset in range(7)]
    write_range(tmp_path, MEMBER_EVENTS, 0, 1, stored)
    assert _offsets(tmp_path) == list(range(7))
    for day in ("2024-10-04", "2024-10-05"):
        compact(tmp_path, MEMBER_EVENTS, day)
    assert _offsets(tmp_path) == list(range(7))


@pytest.mark.parametrize(
    ("timestamp_ms", "day"),
    [(-1, "1970-01-01"), (0, "1970-01-01"), (DAY_MS - 1, "1970-01-01"), (2**62, "9999-12-31")],
)
def test_impossible_append_times_count_as_the_first_or_last_day(timestamp_ms: int, day: str) -> None:
    assert day_of(timestamp_ms) == day


def test_rows_are_ordered_by_partition_epoch_and_offset(tmp_path: Path) -> None:
    _write(tmp_path, 5, 6, partition=1)
    _write(tmp_path, 0, epoch=2)
    _write(tmp_path, 7, 8)
    table = read_topic(tmp_path, MEMBER_EVENTS)
    places = zip(*(table.column(name).to_pylist() for name in ("partition", "epoch", "offset")), strict=True)
    assert list(places) == [(0, 1, 7), (0, 1, 8), (0, 2, 0), (1, 1, 5), (1, 1, 6)]
    assert end_positions(tmp_path, MEMBER_EVENTS) == {0: pack_position(2, 0), 1: pack_position(1, 6)}


def test_a_recreated_topic_begins_again_without_hiding_behind_the_old_one(tmp_path: Path) -> None:
    _write(tmp_path, 0, 1, 2)
    _write(tmp_path, 0, 1, epoch=2)
    assert _offsets(tmp_path) == [0, 1, 2, 0, 1]


_ranges = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted)


@settings(max_examples=25, deadline=None)
@given(ranges=st.lists(_ranges, min_size=1, max_size=6), compactions=st.sets(st.integers(0, 5)))
def test_overlapping_ranges_give_each_row_once_before_and_after_compaction(
    ranges: list[list[int]], compactions: set[int]
) -> None:
    expected = sorted({offset for first, last in ranges for offset in range(first, last + 1)})
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number, (first, last) in enumerate(ranges):
            _write(root, *range(first, last + 1))
            if number in compactions:
                compact(root, MEMBER_EVENTS, DAY)
        assert _offsets(root) == expected
        compact(root, MEMBER_EVENTS, DAY)
        assert _offsets(root) == expected
        gaps = sum(1 for left, right in pairwise(expected) if right > left + 1)
        assert len(list_files(root, MEMBER_EVENTS)) == gaps + 1


def test_compaction_leaves_large_files_and_other_days_and_partitions_alone(tmp_path: Path) -> None:
    for first in range(0, 60, 10):
        _write(tmp_path, *range(first, first + 10))
    _write(tmp_path, 0, partition=1)
    write_range(tmp_path, MEMBER_EVENTS, 0, 1, [record(60, NOON_MS + DAY_MS)])
    assert compact(tmp_path, MEMBER_EVENTS, DAY, partition=0, target_rows=30) == 6
    files = [(file.partition, file.first, file.last) for file in list_files(tmp_path, MEMBER_EVENTS)]
    assert files == [(0, 0, 29), (0, 30, 59), (0, 60, 60), (1, 0, 0)]
    assert compact(tmp_path, MEMBER_EVENTS, DAY, target_rows=30) == 0
    assert compact(tmp_path, EXPOSURES, DAY) == 0


def test_a_compaction_that_dies_before_it_deletes_leaves_each_row_once(tmp_path: Path) -> None:
    paths = [*_write(tmp_path, 0, 1), *_write(tmp_path, 2, 3)]
    small = {path: path.read_bytes() for path in paths}
    compact(tmp_path, MEMBER_EVENTS, DAY)
    for path, content in small.items():
        path.write_bytes(content)
    assert _offsets(tmp_path) == [0, 1, 2, 3]
    assert compact(tmp_path, MEMBER_EVENTS, DAY) == 2
    assert _offsets(tmp_path) == [0, 1, 2, 3]


def test_a_reader_beside_compaction_never_misses_or_doubles_a_row(tmp_path: Path) -> None:
    for first in range(0, 200, 2):
        _write(tmp_path, first, first + 1)
    wrong: list[list[int]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            offsets = _offsets(tmp_path)
            if offsets != list(range(200)):
                wrong.append(offsets)

    reader = threading.Thread(target=read)
    reader.start()
    for target_rows in (8, 40, 1_000):
        compact(tmp_path, MEMBER_EVENTS, DAY, target_rows=target_rows)
    done.set()
    reader.join()
    assert wrong == []


def test_other_files_in_the_folders_are_passed_over(tmp_path: Path) -> None:
    (path,) = _write(tmp_path, 0, 1)
    (path.parent / ".writing-abc").write_bytes(b"half")
    (path.parent / file_name(1, 9, 5)).write_bytes(b"")
    (path.parent / file_name(0, 0, 5)).write_bytes(b"")
    (path.parent / "1-2-3.parquet").write_bytes(b"")
    (path.parent.parent / "notes.txt").write_text("")
    (tmp_path / MEMBER_EVENTS / "dt=someday" / "p=0").mkdir(parents=True)
    assert _offsets(tmp_path) == [0, 1]
    assert end_positions(tmp_path, MEMBER_EVENTS) == {0: pack_position(1, 1)}


def test_a_half_written_file_of_a_dead_process_is_cleared_away_in_time(tmp_path: Path) -> None:
    (path,) = _write(tmp_path, 0)
    old, new = path.parent / ".writing-old", path.parent / ".writing-new"
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (0, 0))
    compact(tmp_path, MEMBER_EVENTS, DAY)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_column_that_older_files_lack_is_null(tmp_path: Path) -> None:
    (path,) = _write(tmp_path, 0)
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.drop_columns(["row_id", "raw"]), path)
    (row,) = read_topic(tmp_path, MEMBER_EVENTS, ["row_id", "item_id"]).to_pylist()
    assert row == {"row_id": None, "item_id": "i0"}


@pytest.mark.parametrize("keep", [0, 10, 0.5, -8], ids=["nothing", "a few bytes", "half", "all but the end"])
def test_a_damaged_file_is_named(tmp_path: Path, keep: float) -> None:
    (path,) = _write(tmp_path, *range(500))
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(Corrupt, match=path.name):
        read_topic(tmp_path, MEMBER_EVENTS)


def test_unknown_topics_columns_and_engines_are_named(tmp_path: Path) -> None:
    with pytest.raises(FixRequest, match="dead-letters"):
        read_topic(tmp_path, DEAD_LETTERS)
    with pytest.raises(FixRequest, match="stars"):
        read_topic(tmp_path, MEMBER_EVENTS, ["offset", "stars"])
    with pytest.raises(FixRequest, match="MARQUEE_WAREHOUSE_URL"):
        root_of(Settings(warehouse_url="hdfs://warehouse"))
    assert root_of(Settings(state=tmp_path)) == tmp_path / "warehouse"


def test_a_folder_that_cannot_be_written_says_to_try_again(tmp_path: Path) -> None:
    (tmp_path / MEMBER_EVENTS).write_text("a file where a folder should be")
    with pytest.raises(TryAgain, match="cannot be written"):
        _write(tmp_path, 0)


def test_a_writer_killed_at_any_moment_leaves_whole_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.streams.warehouse_writer", str(tmp_path)]
    for files in (3, 9):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            said = [int(child.stdout.readline()) for _ in range(files)]
            child.send_signal(signal.SIGKILL)
        offsets = _offsets(tmp_path)
        assert offsets == list(range(len(offsets)))
        assert len(offsets) > said[-1]


def test_a_forgotten_member_leaves_no_row_and_others_stay(tmp_path: Path) -> None:
    stored = [record(0, member_id="x"), record(1, member_id="y"), record(2, member_id="xy")]
    bad = [
        Record(3, NOON_MS, b"x", b"bad"),
        Record(4, NOON_MS, b"", b'{"member_id":"x"'),
        Record(5, NOON_MS, b"y", b"x"),
    ]
    (path,) = write_range(tmp_path, MEMBER_EVENTS, 0, 1, [*stored, *bad])
    write_range(tmp_path, MEMBER_EVENTS, 1, 1, [record(0, member_id="x")])
    write_range(tmp_path, IMPRESSIONS, 0, 1, [_impression("x"), _impression("y", 1)])
    before = end_positions(tmp_path, MEMBER_EVENTS)
    assert forget_rows(tmp_path, "x") == 5
    assert read_topic(tmp_path, MEMBER_EVENTS).column("member_id").to_pylist() == ["y", "xy"]
    assert read_malformed(tmp_path, MEMBER_EVENTS).column("raw").to_pylist() == [b"x"]
    assert read_topic(tmp_path, IMPRESSIONS).column("member_id").to_pylist() == ["y"]
    assert b'"x"' not in path.read_bytes()
    assert end_positions(tmp_path, MEMBER_EVENTS) == before
    assert forget_rows(tmp_path, "x") == 0


def test_a_forgotten_member_does_not_return_from_a_file_that_another_covers(tmp_path: Path) -> None:
    _write(tmp_path, 0, 1, 2, 3)
    _write(tmp_path, 1, 2)
    assert forget_rows(tmp_path, "m") == 6
    (tmp_path / MEMBER_EVENTS / f"dt={DAY}" / "p=0" / file_name(1, 0, 3)).unlink()
    assert _offsets(tmp_path) == []


def _impression(member_id: str, offset: int = 0) -> Record:
    shown = Impression(f"p{offset}", member_id, NOON_MS, "fresh", [])
    return Record(offset, NOON_MS, member_id.encode(), encode_impression(shown))


def test_a_folder_name_is_what_hive_readers_expect(tmp_path: Path) -> None:
    _write(tmp_path, 0, 1, partition=3)
    table = pq.read_table(tmp_path / MEMBER_EVENTS, columns=["offset", "dt", "p"])
    assert set(table.column("p").to_pylist()) == {3}
    assert folder_of(tmp_path, MEMBER_EVENTS, DAY, 3).is_dir()
