"""Reasons say no more than is known."""

from __future__ import annotations

import numpy as np
import pytest

from serving.pages import reasons
from serving.pages.builder import build_page
from serving.pages.page import Page
from serving.titles.columns import COLUMN
from serving.titles.snapshot import TitleSnapshot
from streams.events import EventType
from streams.features.history import HistoryEntry
from tests.serving.pages.world import World, comedy_fan, event, member, world


def sentences(page: Page) -> list[str]:
    return [one for row in page.rows for one in (row.reason, *(item.reason for item in row.items))]


def comedies(place: World, count: int) -> list[str]:
    return [title.item_id for title in place.catalogue.values() if title.genres == ("Comedy",)][:count]


def said_of_comedy(place: World, *done: tuple[EventType, str]) -> set[str]:
    """Return what a page says of comedy to a member who did these things, one a minute."""
    state = member(place.catalogue, [event(kind, item, minutes_ago=99 - n) for n, (kind, item) in enumerate(done)])
    said = sentences(build_page(place.inputs(state)))
    return {one for one in said if one.startswith("You") and one.endswith("Comedy")}


def test_often_is_said_from_five_titles_of_the_genre_on() -> None:
    place = world()
    plays: list[tuple[EventType, str]] = [("play", item) for item in comedies(place, 5)]
    assert len(plays) == 5
    assert said_of_comedy(place, *plays) == {"You often watch Comedy"}
    assert said_of_comedy(place, *plays[:4]) == {"You watched Comedy"}


def test_many_events_of_one_title_or_of_other_genres_do_not_make_often() -> None:
    place = world()
    one, horrors = comedies(place, 1)[0], [t.item_id for t in place.catalogue.values() if t.genres == ("Horror",)][:6]
    kinds: tuple[EventType, ...] = ("view", "click", "play", "progress", "complete", "like")
    assert said_of_comedy(place, *((kind, one) for kind in kinds)) == {"You watched Comedy"}
    others: list[tuple[EventType, str]] = [("play", item) for item in horrors]
    assert said_of_comedy(place, *others, ("play", one)) == {"You watched Comedy"}


def test_who_only_looked_has_not_watched() -> None:
    place = world()
    clicks: list[tuple[EventType, str]] = [("click", item) for item in comedies(place, 5)]
    assert said_of_comedy(place, *clicks) == {"You showed interest in Comedy"}


@pytest.mark.parametrize(("stars", "verb"), [(5.0, "liked"), (4.0, "liked"), (3.5, "watched"), (3.0, "watched")])
def test_a_rating_is_liking_from_four_stars_on(stars: float, verb: str) -> None:
    assert reasons.because(HistoryEntry("1", "rate", 0, stars), "Heat") == f"Because you {verb} Heat"


def test_top_picks_give_no_number_of_moments() -> None:
    place = world()
    rows = {row.kind: row for row in build_page(place.inputs(comedy_fan(place.catalogue))).rows}
    assert rows["top_picks"].reason == "Ranked for you by what you did here lately"


@pytest.mark.parametrize(("each", "said"), [(0.0, reasons.CHANGE), (3.0, reasons.CHANGE), (4.0, reasons.TRY)])
def test_rarely_shown_is_said_only_where_much_is_shown(each: float, said: str) -> None:
    place = world(300)
    old = place.snapshot
    matrix = old.columns(old.names).copy()
    matrix[:, COLUMN["shown:30d"]] = np.float32(each)
    shown = World(place.catalogue, TitleSnapshot(old.order, old.names, matrix, old.as_of_ms), place.model)
    page = build_page(shown.inputs(comedy_fan(place.catalogue)))
    explored = {item.reason for row in page.rows if row.kind == "explore" for item in row.items}
    assert explored - {reasons.NEW} == {said}
