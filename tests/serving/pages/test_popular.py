from __future__ import annotations

from serving.pages.page import PageContext
from serving.pages.params import PageParams
from serving.pages.popular import popular_page
from serving.titles.snapshot import empty_snapshot
from streams.catalogue import Catalogue
from tests.serving.pages.world import NOW_MS, event, shown_ids, snapshot, titles, world

CONTEXT = PageContext("m1", NOW_MS, 3)


def test_a_popular_page_needs_neither_state_nor_model() -> None:
    place = world()
    page = popular_page(place.catalogue, place.snapshot, CONTEXT)
    assert page.model_version is None
    assert page.feature_position == 0
    assert {"trending", "popular", "genre", "explore"} == {row.kind for row in page.rows}
    ids = shown_ids(page)
    assert len(ids) == len(set(ids))


def test_popular_titles_come_by_popularity_and_say_so() -> None:
    place = world()
    page = popular_page(place.catalogue, place.snapshot, CONTEXT, PageParams(trending_size=0))
    popular = next(row for row in page.rows if row.kind == "popular")
    scores = [item.score for item in popular.items]
    assert scores == sorted(scores, reverse=True)
    assert popular.items[0].reason.startswith("Popular this week: ")


def test_a_catalogue_without_events_still_has_a_page() -> None:
    catalogue = Catalogue(titles(30))
    page = popular_page(catalogue, empty_snapshot(tuple(catalogue), (), NOW_MS), CONTEXT)
    assert page.rows
    assert "trending" not in {row.kind for row in page.rows}


def test_a_quiet_week_is_eked_out_with_the_month() -> None:
    some = titles(60)
    plays = [
        event("play", title.item_id, minutes_ago=(10 + n) * 1_440, number=n) for title in some[:40] for n in range(4)
    ]
    page = popular_page(Catalogue(some), snapshot(some, plays), CONTEXT)
    trending = next(row for row in page.rows if row.kind == "trending")
    assert trending.reason == "What members watch this month"


def test_an_empty_catalogue_has_an_empty_page() -> None:
    assert popular_page(Catalogue(()), empty_snapshot((), (), 0), CONTEXT).rows == []


def test_two_askers_see_the_same_but_for_the_draw() -> None:
    place = world()
    one = popular_page(place.catalogue, place.snapshot, CONTEXT)
    other = popular_page(place.catalogue, place.snapshot, PageContext("m2", NOW_MS, 4))
    assert [row for row in one.rows if row.kind != "explore"] == [row for row in other.rows if row.kind != "explore"]
