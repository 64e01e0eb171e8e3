"""A page: rows of ranked titles, each with its reason."""

from __future__ import annotations

from typing import Literal

import msgspec

Step = Literal["fresh", "stale", "precomputed", "popular"]
"""The ladder, best first."""

RowKind = Literal[
    "continue_watching",
    "top_picks",
    "trending",
    "because_you_watched",
    "genre",
    "explore",
    "popular",
]


class PageTitle(msgspec.Struct, frozen=True, gc=False):
    """A title on a page. reason: a sentence for the member. propensity: the probability of its standing there."""

    item_id: str
    title: str
    year: int
    genres: tuple[str, ...]
    score: float
    propensity: float
    reason: str


class Row(msgspec.Struct, frozen=True, gc=False):
    """A row. row_id: stable within the page, such as `genre:Comedy`. value: predicted, what rows are ordered by."""

    row_id: str
    kind: RowKind
    title: str
    reason: str
    value: float
    items: list[PageTitle]


class PageContext(msgspec.Struct, frozen=True):
    """What was asked, in full: the page is a function of this, the member's state, the title snapshot and the model."""

    member_id: str
    now_ms: int
    seed: int
    country: str = ""
    device: str = ""


class Page(msgspec.Struct, frozen=True, gc=False):
    """A computed page, before it is served: what is cached, logged and replayed."""

    member_id: str
    rows: list[Row]
    computed_at_ms: int
    model_version: str | None
    feature_position: int
    feature_time_ms: int
    """Event time of the newest event in the member's state, 0 for none."""
    title_snapshot: str | None
    variants: dict[str, str] = {}


class Served(msgspec.Struct, frozen=True, gc=False):
    """How a page was served: the head of each answer. cache: whether a page came from the page cache. degraded: why the
    step is below `fresh`, or what was away though it is not (the hot store, say); None when all was well. Ages are in
    ms; feature_age_ms is None for a member without events."""

    page_id: str
    step: Step
    cache: Literal["hit", "miss", "bypass"]
    degraded: str | None
    cache_age_ms: int
    feature_position: int
    feature_age_ms: int | None
    model_version: str | None
    variants: dict[str, str]
