"""Metrics of experiments, defined once over the event stream: what is measured of each member who was exposed."""

from __future__ import annotations

from typing import Literal

import msgspec

from streams.events import EventType

MetricKind = Literal["count", "sum", "ratio", "conversion", "retention", "percentile"]
Direction = Literal["increase", "decrease"]
Attribution = Literal["member", "page"]


class Measure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A number of one member: how many events of `types` there are, or the sum of their values.

    min_value: only events whose value is at least this count (None: all).
    """

    types: tuple[EventType, ...]
    of: Literal["events", "value"] = "events"
    min_value: float | None = None


class Metric(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One metric. Its unit is a member: each contributes one number (a ratio: two), of events since the first exposure.

    kind: `count` and `sum`: the measure; `ratio`: sum of `measure` over sum of `per`, over all members; `conversion`: 1
    for a member with any event of the measure; `retention`: 1 for one with any event from `after_s` on; `percentile`:
    of the members' measures, that of `quantile`.
    window_s: only events within this time of the first exposure count (None: all that come while the experiment runs).
    after_s: only events from so long after it on count. cap: a member's number is no more than this (winsorizing).
    direction: which way is better. attribution: `page` counts only events that name a page served since the exposure.
    """

    name: str
    kind: MetricKind
    measure: Measure
    per: Measure | None = None
    window_s: int | None = None
    after_s: int = 0
    cap: float | None = None
    quantile: float | None = None
    direction: Direction = "increase"
    attribution: Attribution = "member"
    description: str = ""
