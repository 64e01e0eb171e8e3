"""A metric's past, from the warehouse."""

from __future__ import annotations

from pathlib import Path

from streams.event_log.protocol import Record
from streams.events import Event, encode_event
from streams.experiments import baseline
from streams.experiments.baseline import metric_past
from streams.experiments.metric import Metric
from streams.experiments.moments import Moments
from streams.topics import MEMBER_EVENTS
from streams.warehouse import write_range
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


def test_of_many_members_some_are_looked_at(tmp_path: Path, monkeypatch: object) -> None:
    _write(tmp_path, *((f"e{number}", f"m{number}", START_MS - number) for number in range(50)))
    whole = metric_past(tmp_path, METRIC, 1.0, 0, START_MS)
    monkeypatch.setattr(baseline, "SAMPLED", 10)  # type: ignore[attr-defined]
    some = metric_past(tmp_path, METRIC, 1.0, 0, START_MS)
    assert (whole.moments.n, some.moments.n, some.members_a_day) == (50, 10, whole.members_a_day)
