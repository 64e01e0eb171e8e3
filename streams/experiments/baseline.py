"""A metric's own past: what its numbers would have been, had every member been exposed at their first event of late.

That is what the duration of an experiment is planned from: mean, variance, correlation with the time before, and how
many members come in a day.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from hashlib import blake2b
from heapq import nsmallest
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from streams import warehouse
from streams.experiments.metric import Metric
from streams.experiments.moments import Moments
from streams.experiments.outcomes import HISTORY_ROWS, numbers_of
from streams.stores.protocol import HistoryRow
from streams.topics import MEMBER_EVENTS

DAY_MS: Final = 86_400_000
SAMPLED: Final = 20_000
"""Members whose numbers are taken: a mean is then known to a hundredth of a standard deviation, and how many members
there are to 1 %."""

MAX_ROWS: Final = 400_000
"""Events held at once, some 200 MB. Where the sample has more, half of its members is let go, and so on."""

_COLUMNS: Final = ("event_id", "member_id", "event_time_ms", "type", "item_id", "value", "page_id")


class MetricPast(NamedTuple):
    """moments: of the members' numbers. members_a_day: who came for the first time in the time looked at, by day; of a
    platform that is younger than that, by day of its own."""

    moments: Moments
    members_a_day: float


def metric_past(root: Path, metric: Metric, days: float, pre_period_s: int, now_ms: int) -> MetricPast:
    """Return a metric's past over the last `days` before `now_ms` or, if that is earlier, before the newest event.

    pre_period_s: of the covariate, before each member's first event in that time. Members are as in the warehouse below
    `root`. Events are streamed: memory does not grow with the warehouse. Raises TryAgain or Corrupt if it cannot be
    read.
    """
    return warehouse.while_files_change(lambda: _past(root, metric, days, pre_period_s, now_ms))


def _past(root: Path, metric: Metric, days: float, pre_period_s: int, now_ms: int) -> MetricPast:
    oldest_ms, newest_ms = _range(root, now_ms)
    if newest_ms is None:
        return MetricPast(Moments(), 0.0)
    from_ms = newest_ms - round(days * DAY_MS)
    firsts, members = _firsts(root, from_ms, newest_ms)
    histories = _histories(root, metric, firsts, from_ms - pre_period_s * 1000, newest_ms)
    moments = Moments()
    for member_id, rows in histories.items():
        moments += Moments.of(*numbers_of(metric, firsts[member_id], newest_ms + 1, pre_period_s * 1000, rows))
    return MetricPast(moments, members / max(1.0, (newest_ms - max(from_ms, oldest_ms)) / DAY_MS))


def _range(root: Path, now_ms: int) -> tuple[int, int | None]:
    """Return the times of the oldest event and of the newest up to now, None if there is none."""
    oldest_ms, newest_ms = now_ms, None
    for table in warehouse.iter_tables(root, MEMBER_EVENTS, ("event_time_ms",)):
        times = table.column("event_time_ms")
        past = pc.min_max(times.filter(pc.less_equal(times, now_ms))).as_py()
        if past["max"] is not None:
            oldest_ms = min(oldest_ms, past["min"])
            newest_ms = past["max"] if newest_ms is None else max(newest_ms, past["max"])
    return oldest_ms, newest_ms


def _firsts(root: Path, from_ms: int, newest_ms: int) -> tuple[dict[str, int], float]:
    """Return up to SAMPLED members, with the time of their first event after `from_ms`, and how many there are.

    Those of the lowest hashes, the same whenever they are asked for; where there are more, how many follows from the
    highest of these hashes (Beyer et al., "On synopses for distinct-value estimation under multiset operations",
    SIGMOD 2007, section 4.1). A member of the sample is in it from their first row on, so that none is missed.
    """
    firsts: dict[str, int] = {}
    limit: int | None = None
    """The highest hash in a full sample: members above it need not be looked at."""
    for table in warehouse.iter_tables(root, MEMBER_EVENTS, ("member_id", "event_time_ms")):
        earliest = _within(table, from_ms, newest_ms).group_by("member_id").aggregate([("event_time_ms", "min")])
        rows = zip(earliest["member_id"].to_pylist(), earliest["event_time_ms_min"].to_pylist(), strict=True)
        for member_id, time_ms in rows:
            if limit is None or _hash(member_id) <= limit:
                firsts[member_id] = min(time_ms, firsts.get(member_id, time_ms))
        if len(firsts) > SAMPLED:
            firsts = {member_id: firsts[member_id] for member_id in nsmallest(SAMPLED, firsts, key=_hash)}
            limit = max(map(_hash, firsts))
    return firsts, float(len(firsts)) if limit is None else (SAMPLED - 1) * 2**64 / limit


def _histories(
    root: Path, metric: Metric, members: Collection[str], from_ms: int, newest_ms: int
) -> Mapping[str, list[HistoryRow]]:
    """Return each member's rows that the metric can count; an event that was sent twice stands once.

    Of a member at most HISTORY_ROWS; of members fewer, again those of the lowest hashes, where there are too many rows.
    """
    types = pa.array([*metric.measure.types, *(metric.per.types if metric.per else ())], pa.string())
    histories: dict[str, dict[str, HistoryRow]] = {member_id: {} for member_id in members}
    held = 0
    for table in warehouse.iter_tables(root, MEMBER_EVENTS, _COLUMNS):
        within = _within(table, from_ms, newest_ms)
        counted = within.filter(pc.is_in(within.column("type"), types))
        for event_id, member_id, time_ms, kind, item_id, value, page_id in _rows(counted):
            rows = histories.get(member_id)
            if rows is None or event_id in rows or len(rows) >= HISTORY_ROWS:
                continue
            rows[event_id] = HistoryRow(member_id, 0, time_ms, kind, item_id or "", value, page_id)
            held += 1
        while held > MAX_ROWS and len(histories) > 1:
            kept = nsmallest(len(histories) // 2, histories, key=_hash)
            histories = {member_id: histories[member_id] for member_id in kept}
            held = sum(map(len, histories.values()))
    return {member_id: list(rows.values()) for member_id, rows in histories.items()}


def _within(table: pa.Table, after_ms: int, until_ms: int) -> pa.Table:
    times = table.column("event_time_ms")
    return table.filter(pc.and_(pc.greater(times, after_ms), pc.less_equal(times, until_ms)))


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(table.column(name).to_pylist() for name in _COLUMNS), strict=True)


def _hash(member_id: str) -> int:
    return int.from_bytes(blake2b(member_id.encode(), digest_size=8).digest(), "big")
