"""A metric's past, from the warehouse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from streams import warehouse
from streams.event_log.protocol import Record
from streams.events import Event, encode_event
from streams.experiments import baseline
from streams.experiments.baseline import metric_past
from streams.experiments.metric import Metric
from streams.experiments.moments import Moments
from streams.topics import MEMBER_EVENTS
from streams.warehouse import reading, write_range
from tests.streams.experiments.world import DAY_MS, PLAY, START_MS

METRIC = Metric("plays", "count", PLAY)


def _write(root: Path, *events: tuple[str, str, int]) -> None:
    records = [
        Record(offset, START_MS, member.encode(), encode_event(Event(name, "play", member, at_ms, "t")))
        for offset, (name, member, at_ms) in enumerate(events)
    ]
    write_range(root, MEMBER_EVENTS, 0, 1, records)


def test_members_are_taken_as_exposed_at_their_first_event_of_late(tmp_path: Path) -> None:
    now_ms = START_MS
    _write(
        tmp_path,
        ("before", "a", now_ms - 12 * DAY_MS),
        ("first", "a", now_ms - 9 * DAY_MS),
        ("again", "a", now_ms - 8 * DAY_MS),
        ("again", "a", now_ms - 8 * DAY_MS),
        ("old", "gone", now_ms - 11 * DAY_MS),
        ("new", "b", now_ms),
        ("future", "c", now_ms + 5),
    )
    past = metric_past(tmp_path, METRIC, 10.0, 5 * 86_400, now_ms)
    assert past.members_a_day == 0.2
    assert (past.moments.n, past.moments.mean(0), past.moments.mean(2)) == (2, 1.5, 0.5)


def test_a_young_platform_divides_by_its_own_days(tmp_path: Path) -> None:
    _write(tmp_path, ("first", "a", START_MS - 2 * DAY_MS), ("second", "b", START_MS))
    assert metric_past(tmp_path, METRIC, 28.0, 0, START_MS).members_a_day == 1.0


def test_without_events_nothing_is_known(tmp_path: Path) -> None:
    assert metric_past(tmp_path, METRIC, 10.0, 0, START_MS) == (Moments(), 0.0)


def test_of_many_members_some_are_looked_at_and_all_are_estimated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, *((f"e{number}", f"m{number}", START_MS - number) for number in range(2_000)))
    whole = metric_past(tmp_path, METRIC, 1.0, 0, START_MS)
    monkeypatch.setattr(baseline, "SAMPLED", 400)
    some = metric_past(tmp_path, METRIC, 1.0, 0, START_MS)
    assert (whole.moments.n, some.moments.n, whole.members_a_day) == (2_000, 400, 2_000.0)
    assert some.members_a_day == pytest.approx(2_000, rel=0.2)  # four standard errors


def test_the_past_does_not_depend_on_how_much_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [(f"e{number % 80}", f"m{number % 30}", START_MS - number * DAY_MS // 9) for number in range(100)]
    _write(tmp_path, *events)
    monkeypatch.setattr(baseline, "SAMPLED", 10)
    whole = metric_past(tmp_path, METRIC, 7.0, 3 * 86_400, START_MS)
    monkeypatch.setattr(reading, "BATCH_ROWS", 7)
    assert metric_past(tmp_path, METRIC, 7.0, 3 * 86_400, START_MS) == whole


def test_no_more_events_are_held_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, *((f"e{number}", f"m{number % 64}", START_MS - number) for number in range(64 * 8)))
    monkeypatch.setattr(baseline, "MAX_ROWS", 100)
    past = metric_past(tmp_path, METRIC, 1.0, 0, START_MS)
    assert (past.moments.n, past.moments.mean(0), past.members_a_day) == (8, 8.0, 64.0)


def test_the_whole_warehouse_is_never_read_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, *((f"e{number}", f"m{number}", START_MS - number) for number in range(100)))
    monkeypatch.setattr(reading, "BATCH_ROWS", 10)
    sizes = []

    def measured(root: Path, topic: str, columns: Sequence[str]) -> Iterator[pa.Table]:
        for table in reading.iter_tables(root, topic, columns):
            sizes.append(len(table))
            yield table

    monkeypatch.setattr(warehouse, "iter_tables", measured)
    assert metric_past(tmp_path, METRIC, 1.0, 0, START_MS).moments.n == 100
    assert sizes == [10] * 30  # thrice the whole


def test_files_that_compaction_takes_away_are_read_where_they_are_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, ("first", "a", START_MS))
    whole, gone = baseline._firsts, iter([True])

    def once_gone(root: Path, from_ms: int, newest_ms: int) -> tuple[dict[str, int], float]:
        if next(gone, False):
            raise FileNotFoundError
        return whole(root, from_ms, newest_ms)

    monkeypatch.setattr(baseline, "_firsts", once_gone)
    assert metric_past(tmp_path, METRIC, 1.0, 0, START_MS).moments.n == 1
