from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import Corrupt
from streams.settings import Settings
from streams.warehouse.ranges import RangeFile, Slice
from tests.training_bridge.records import APPENDED_MS, made_events
from tests.training_bridge.warehouse import store
from training_bridge.dataset_manifest import OffsetRange
from training_bridge.warehouse_records import newest, read_newest, read_ranges

DAY_MS = 86_400_000
EVENTS = [{**row, "timestamp_ms": APPENDED_MS + n // 200 * DAY_MS} for n, row in enumerate(made_events())]
"""Two days of 200 records."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    settings = Settings(state=tmp_path)
    store(settings, EVENTS)
    return settings.path_of(settings.warehouse_url)


def ids(table) -> set[str]:
    return set(table["event_id"].to_pylist())


def test_all_records_are_read_once(root: Path) -> None:
    table = read_newest(root, 10_000)
    assert len(table) == len(EVENTS)
    assert ids(table) == {row["event_id"] for row in EVENTS}


def test_of_too_many_records_the_newest_are_read(root: Path) -> None:
    assert ids(read_newest(root, 200)) == {row["event_id"] for row in EVENTS[200:]}
    some = read_newest(root, 250)
    assert len(some) == 250
    assert ids(some) > {row["event_id"] for row in EVENTS[200:]}


def test_records_of_ranges_are_read_from_the_files_that_hold_them(root: Path) -> None:
    wanted = [row for row in EVENTS if row["partition"] == 1 and 10 <= row["offset"] <= 20]
    table = read_ranges(root, [OffsetRange(1, 1, 10, 20, 11)])
    assert ids(table) >= {row["event_id"] for row in wanted}
    assert set(table["partition"].to_pylist()) == {1}
    assert len(read_ranges(root, [])) == 0


def test_an_empty_warehouse_has_no_records(tmp_path: Path) -> None:
    assert len(read_newest(tmp_path / "nothing", 10)) == 0


def test_a_damaged_file_is_named(root: Path) -> None:
    file = next(root.rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(Corrupt, match=file.name):
        read_newest(root, 10_000)


def test_what_is_chosen_does_not_depend_on_how_records_are_spread_over_files() -> None:
    def slices(size: int) -> list[Slice]:
        return [
            Slice(RangeFile(p, 1, first, first + size - 1, day, Path()), first)
            for p in range(2)
            for day, start in (("2024-01-01", 0), ("2024-01-02", 60))
            for first in range(start, start + 60, size)
        ]

    def offsets(chosen: list[Slice]) -> set[tuple[int, int]]:
        return {(some.file.partition, o) for some in chosen for o in range(some.start, some.file.last + 1)}

    for bound in (1, 30, 59, 120, 130, 239, 240, 1_000):
        expected = offsets(newest(slices(60), bound))
        assert len(expected) == min(bound, 240)
        assert offsets(newest(slices(10), bound)) == offsets(newest(slices(20), bound)) == expected
