"""A metric's own past: what its numbers would have been, had every member been exposed at their first event of late.

That is what the duration of an experiment is planned from: mean, variance, correlation with the time before, and how
many members come in a day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from streams import warehouse
from streams.experiments.metric import Metric
from streams.experiments.moments import Moments
from streams.experiments.outcomes import numbers_of
from streams.stores.protocol import HistoryRow
from streams.topics import MEMBER_EVENTS

DAY_MS: Final = 86_400_000
SAMPLED: Final = 20_000
"""Members whose numbers are taken: a mean is then known to a hundredth of a standard deviation."""

_COLUMNS: Final = ("event_id", "member_id", "event_time_ms", "type", "item_id", "value", "page_id")


class MetricPast(NamedTuple):
    """moments: of the members' numbers. members_a_day: who came for the first time in the time looked at, by day; of a
    platform that is younger than that, by day of its own."""

    moments: Moments
    members_a_day: float


def metric_past(root: Path, metric: Metric, days: float, pre_period_s: int, now_ms: int) -> MetricPast:
    """Return a metric's past over the last `days` before `now_ms` or, if that is earlier, before the newest event.

    pre_period_s: of the covariate, before each member's first event in that time. Members are as in the warehouse below
    `root`. Raises TryAgain or Corrupt if it cannot be read.
    """
    table = warehouse.read_topic(root, MEMBER_EVENTS, columns=_COLUMNS)
    times = table.column("event_time_ms")
    newest_ms = pc.max(table.filter(pc.less_equal(times, now_ms)).column("event_time_ms")).as_py()
    if newest_ms is None:
        return MetricPast(Moments(), 0.0)
    from_ms = newest_ms - round(days * DAY_MS)
    recent = table.filter(pc.and_(pc.greater(times, from_ms), pc.less_equal(times, newest_ms)))
    members = pc.unique(recent.column("member_id")).to_pylist()
    sample = _sampled(members)
    known = pc.and_(pc.greater(times, from_ms - pre_period_s * 1000), pc.less_equal(times, newest_ms))
    theirs = table.filter(pc.and_(known, pc.is_in(table.column("member_id"), pa.array(sample, pa.string()))))
    moments = Moments()
    for rows in _histories(theirs).values():
        first_ms = min(row.event_time_ms for row in rows if row.event_time_ms > from_ms)
        moments += Moments.of(*numbers_of(metric, first_ms, newest_ms + 1, pre_period_s * 1000, rows))
    oldest_ms = max(from_ms, pc.min(times).as_py())
    return MetricPast(moments, len(members) / max(1.0, (newest_ms - oldest_ms) / DAY_MS))


def _sampled(members: Sequence[str]) -> list[str]:
    """Return up to SAMPLED members, the same whenever they are asked for."""
    if len(members) <= SAMPLED:
        return list(members)
    return sorted(members, key=lambda member: blake2b(member.encode(), digest_size=8).digest())[:SAMPLED]


def _histories(table: pa.Table) -> Mapping[str, list[HistoryRow]]:
    """Return each member's rows; an event that was sent twice stands once."""
    histories: dict[str, list[HistoryRow]] = defaultdict(list)
    seen: set[tuple[str, str]] = set()
    for event_id, member_id, time_ms, kind, item_id, value, page_id in _rows(table):
        if (member_id, event_id) not in seen:
            seen.add((member_id, event_id))
            histories[member_id].append(HistoryRow(member_id, 0, time_ms, kind, item_id or "", value, page_id))
    return histories


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(table.column(name).to_pylist() for name in _COLUMNS), strict=True)
