"""Shelves: what every page of one catalogue and snapshot needs, computed once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.pages.params import PageParams
from serving.titles.snapshot import TitleOrder, TitleSnapshot
from streams.catalogue import Catalogue, Title
from streams.features.seen_titles import TitleHashes

SHELVES_KEPT: Final = 8
"""Pages in the making use the newest snapshot or the one before, under a few variants; replays bring a third."""
LIST_LENGTH: Final = 600
"""Titles in each precomputed order; members who have seen them all get fewer popular rows."""
POPULAR_TITLES: Final = 200
"""A member may be told that one of the first so many is popular."""

MUCH_SHOWN: Final = 1_000
"""Showings in 30 days, some ten pages' worth, and at least one for each title: before that every title is rare."""

CLOCKS: Final = (("7d", "this week"), ("30d", "this month"), ("90d", "this season"), ("365d", "this year"))
"""Half-lives of popularity and how a member would say them, the shortest first."""
ALL_TIME: Final = "all-time favourites"

Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class TitleIndex:
    """The titles of a snapshot as arrays. flags: bool [G, T], which titles have which genre."""

    order: TitleOrder
    titles: Sequence[Title]
    facts: Sequence[tuple[str, str, int, tuple[str, ...]]]
    """The first fields of each PageTitle: item id, title, year, genres. Equal years and genres are one object each, as
    are `genre_numbers`: a page touches hundreds of them, and memory is what it waits for."""
    genres: tuple[str, ...]
    flags: Mask
    genre_numbers: Sequence[tuple[int, ...]]
    """The numbers of each title's genres."""
    hashes: TitleHashes
    live_from_ms: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.titles)


@dataclass(frozen=True, slots=True, eq=False)
class Shelves:
    """Orders of titles by what all members do. Rows are row numbers of the snapshot, the best first.

    popular: by `popularity` float32 [T], whose clock the member would call `period`; is_popular: bool [T], the first
    POPULAR_TITLES of them. trending: titles in demand in the trending_period ("this week"), those on the rise first.
    newest: titles that need showing, the least shown first. explorable: bool [T].
    weekly: float32 [T], plays and good ratings of the last seven days. much_shown: whether so much was shown in 30 days
    that a title can be rare among them. stocking: the parameters that all of this depends on.
    """

    snapshot: TitleSnapshot
    stocking: tuple[float, ...]
    index: TitleIndex
    popular: Rows
    popularity: NDArray[np.float32]
    period: str
    trending: Rows
    trending_period: str
    newest: Rows
    explorable: Mask
    is_popular: Mask
    weekly: NDArray[np.float32]
    much_shown: bool
    genre_order: Sequence[int]
    """Genre numbers, the most popular first."""


_kept: tuple[Shelves, ...] = ()
_indexes: tuple[TitleIndex, ...] = ()


def shelves_of(catalogue: Catalogue, snapshot: TitleSnapshot, params: PageParams) -> Shelves:
    """Return the shelves of a snapshot, made at the first call; call it ahead to spare the next page the work."""
    global _kept
    stocking = stocking_of(params)
    for shelves in _kept:
        if shelves.snapshot is snapshot and shelves.stocking == stocking:
            return shelves
    shelves = stock(index_of(catalogue, snapshot.order), snapshot, params)
    _kept = (shelves, *_kept[: SHELVES_KEPT - 1])
    return shelves


def stocking_of(params: PageParams) -> tuple[float, ...]:
    """Return the parameters that shelves depend on: pages that differ in others only share theirs."""
    return (
        params.trending_min_count,
        params.trending_min_titles,
        params.popular_min_titles,
        params.explore_shown_max,
        params.explore_young_days,
    )


def index_of(catalogue: Catalogue, order: TitleOrder) -> TitleIndex:
    """Return the arrays of a title order, made at the first call. Titles that the catalogue lacks have no genres."""
    global _indexes
    for index in _indexes:
        if index.order is order:
            return index
    index = build_index(catalogue, order)
    _indexes = (index, *_indexes[: SHELVES_KEPT - 1])
    return index


def build_index(catalogue: Catalogue, order: TitleOrder) -> TitleIndex:
    """Return the arrays of a title order; genres are those of its titles, so that titles added later change nothing."""
    titles = [catalogue.get(item_id) or Title(item_id, item_id, 0, ()) for item_id in order.item_ids]
    genres = tuple(sorted({genre for title in titles for genre in title.genres}))
    number = {genre: place for place, genre in enumerate(genres)}
    numbers_of = {title.genres: tuple(number[genre] for genre in title.genres) for title in titles}
    genre_numbers = [numbers_of[title.genres] for title in titles]
    years = {title.year: title.year for title in titles}
    same = {title.genres: title.genres for title in titles}
    facts = [(title.item_id, title.title, years[title.year], same[title.genres]) for title in titles]
    flags = np.zeros((len(genres), len(titles)), np.bool_)
    for row, numbers in enumerate(genre_numbers):
        flags[list(numbers), row] = True
    live_from_ms = np.fromiter((title.live_from_ms for title in titles), np.int64, len(titles))
    return TitleIndex(order, titles, facts, genres, flags, genre_numbers, TitleHashes(order.item_ids), live_from_ms)


def stock(index: TitleIndex, snapshot: TitleSnapshot, params: PageParams) -> Shelves:
    """Return the shelves of a snapshot."""
    popularity, period = _popularity(snapshot, params)
    popular = np.argsort(-popularity, kind="stable")
    is_popular = np.zeros(len(index), np.bool_)
    is_popular[popular[:POPULAR_TITLES]] = True
    weekly = snapshot.column("count:7d")
    shown = snapshot.column("shown:30d")
    age_days = snapshot.column("age_days")
    explorable = (shown <= params.explore_shown_max) | (age_days <= params.explore_young_days)
    trending, trending_period = _trending(snapshot, params)
    return Shelves(
        snapshot=snapshot,
        stocking=stocking_of(params),
        index=index,
        popular=_first(popular),
        popularity=popularity,
        period=period,
        trending=_first(trending),
        trending_period=trending_period,
        newest=_first(_newest(index, shown, age_days, params)),
        explorable=explorable,
        is_popular=is_popular,
        weekly=weekly,
        much_shown=bool(shown.sum() >= max(MUCH_SHOWN, len(index))),
        genre_order=np.argsort(-(index.flags @ popularity), kind="stable").tolist(),
    )


def _popularity(snapshot: TitleSnapshot, params: PageParams) -> tuple[NDArray[np.float32], str]:
    """Return the popularity by the shortest clock that has enough to tell, and what that clock is called."""
    enough = min(params.popular_min_titles, len(snapshot.order))
    for name, period in CLOCKS:
        popularity = snapshot.column(f"popularity:{name}")
        if (popularity >= 1.0).sum() >= enough:
            return popularity, period
    return snapshot.column(f"popularity:{CLOCKS[-1][0]}"), ALL_TIME


def _trending(snapshot: TitleSnapshot, params: PageParams) -> tuple[Rows, str]:
    """Return titles in demand by log2 of the week's count plus the trend (log2 of today against the week), and "this
    week"; where members are too few for that, by the month's counts, and "this month"."""
    rows: Rows = np.empty(0, np.intp)
    for name, period in CLOCKS[:2]:
        count = snapshot.column(f"count:{name}")
        order = np.argsort(-(np.log2(count + 1) + snapshot.column("trend")), kind="stable")
        rows = order[count[order] >= params.trending_min_count]
        if len(rows) >= params.trending_min_titles:
            return rows, period
    return rows, CLOCKS[1][1]


def _newest(index: TitleIndex, shown: NDArray[np.float32], age_days: NDArray[np.float32], params: PageParams) -> Rows:
    """Return titles without events or with recent first ones, shown little: least shown, then last published first."""
    young = (age_days <= params.explore_young_days) & (shown <= params.explore_shown_max)
    rows = np.nonzero(young)[0]
    order: Rows = rows[np.lexsort((rows, -index.live_from_ms[rows], shown[rows]))]
    return order


def _first(order: Rows) -> Rows:
    return np.ascontiguousarray(order[:LIST_LENGTH])
