from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.pages.builder import build_page
from serving.pages.page import Page, Row
from serving.pages.params import PageParams
from streams.events import Event, EventType
from tests.serving.pages.world import GENRES, NOW_MS, comedy_fan, event, member, shown_ids, world

TYPES: list[EventType] = [
    "view",
    "click",
    "play",
    "progress",
    "complete",
    "skip",
    "rate",
    "like",
    "dislike",
    "list_add",
]
SEEN_TYPES = {"play", "complete", "progress", "rate", "skip", "like", "dislike"}

events = st.lists(
    st.builds(
        lambda event_type, number, minutes, stars: event(
            event_type, f"t{number}", minutes_ago=minutes, value=stars if event_type in ("rate", "progress") else None
        ),
        st.sampled_from(TYPES),
        st.integers(0, 330),  # some of them no titles of the catalogue
        st.integers(0, 60 * 24 * 40),
        st.floats(0.5, 5.0),
    ),
    max_size=60,
    unique_by=lambda one: one.event_id,
)
params = st.builds(
    PageParams,
    row_size=st.integers(1, 30),
    row_min=st.integers(1, 6),
    genre_rows=st.integers(0, 6),
    because_rows=st.integers(0, 4),
    candidates=st.integers(1, 400),
    genre_cap=st.integers(1, 20),
    explore_size=st.integers(0, 20),
    explore_width=st.integers(1, 12),
    explore_new_share=st.floats(0, 1),
    trending_size=st.integers(1, 20),
)


def row(page: Page, row_id: str) -> Row:
    return next(one for one in page.rows if one.row_id == row_id)


@settings(max_examples=40, deadline=None)
@given(events, params, st.integers(0, 2**64 - 1), st.sampled_from([(300, None), (300, 200), (40, None)]))
def test_a_page_keeps_its_promises_whatever_the_member_did(
    done: list[Event], chosen: PageParams, seed: int, size: tuple[int, int | None]
) -> None:
    place = world(*size)
    inputs = place.inputs(member(place.catalogue, done), seed=seed, params=chosen)
    page = build_page(inputs)
    ids = shown_ids(page)
    assert len(ids) == len(set(ids))
    assert set(ids) <= set(place.catalogue)
    seen = {one.item_id for one in done if one.type in SEEN_TYPES}
    assert not seen & {i for one in page.rows if one.kind != "continue_watching" for i in shown_ids_of(one)}
    assert all(0 < len(one.items) <= 30 for one in page.rows)
    assert len({one.row_id for one in page.rows}) == len(page.rows)
    assert [one.value for one in page.rows] == sorted((one.value for one in page.rows), reverse=True)
    assert all(item.reason and math.isfinite(item.score) for one in page.rows for item in one.items)
    assert all(0 < item.propensity <= 1 for one in page.rows for item in one.items)
    assert page == build_page(inputs)


def shown_ids_of(one: Row) -> list[str]:
    return [item.item_id for item in one.items]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
@pytest.mark.parametrize("known", [0, None])
@pytest.mark.parametrize("watched", [True, False])
def test_a_tiny_catalogue_makes_a_tiny_page(count: int, known: int | None, watched: bool) -> None:
    place = world(count, known, watched and count > 0)
    fan = member(place.catalogue, [event("play", "t0"), event("dislike", "t1")])
    for state, left in ((None, set(place.catalogue)), (fan, set(place.catalogue) - {"t0", "t1"})):
        shown = shown_ids(build_page(place.inputs(state)))
        assert len(shown) == len(set(shown))
        assert set(shown) == left if count < PageParams().row_min else len(shown) >= 3


def test_a_known_member_gets_the_rows_of_a_homepage() -> None:
    place = world()
    page = build_page(place.inputs(comedy_fan(place.catalogue)))
    kinds = [one.kind for one in page.rows]
    assert {"top_picks", "because_you_watched", "genre", "trending", "explore"} <= set(kinds)
    assert kinds.count("because_you_watched") == 2
    assert 7 <= len(page.rows) <= 10
    assert row(page, "genre:Comedy").reason == "You often watch Comedy"
    assert all("Comedy" in item.genres for item in row(page, "genre:Comedy").items)
    assert page.feature_time_ms == NOW_MS - 60 * 60_000


def test_a_new_member_gets_what_is_popular_and_new() -> None:
    place = world()
    page = build_page(place.inputs(None))
    kinds = {one.kind for one in page.rows}
    assert {"trending", "popular", "genre", "explore"} <= kinds
    assert not {"top_picks", "because_you_watched", "continue_watching"} & kinds
    assert page.feature_position == 0
    assert page.feature_time_ms == 0


def test_a_member_who_only_searched_is_a_new_member() -> None:
    place = world()
    searched = member(place.catalogue, [event("search", "")])
    assert "popular" in {one.kind for one in build_page(place.inputs(searched)).rows}


def test_one_event_changes_the_page() -> None:
    place = world()
    horror = next(i for i, title in place.catalogue.items() if title.genres == ("Horror",))
    before = build_page(place.inputs(comedy_fan(place.catalogue)))
    comedies = [title.item_id for title in place.catalogue.values() if "Comedy" in title.genres][:12]
    done = [event("play", item_id, minutes_ago=60 * (12 - place_)) for place_, item_id in enumerate(comedies)]
    after = build_page(place.inputs(member(place.catalogue, [*done, event("play", horror)])))
    assert f"because:{horror}" in {one.row_id for one in after.rows}
    assert shown_ids(before) != shown_ids(after)


def test_what_was_just_begun_is_on_top_and_says_how_far() -> None:
    place = world()
    begun = member(
        place.catalogue,
        [
            event("progress", "t3", minutes_ago=5, value=2520),
            event("progress", "t4", minutes_ago=9, value=2520),
            event("progress", "t5", minutes_ago=20, value=20),
            event("complete", "t5", minutes_ago=10),
            event("progress", "t6", minutes_ago=30, value=5900),
            event("progress", "t7", minutes_ago=60 * 24 * 90, value=600),
            event("progress", "t8", minutes_ago=30, value=600),
            event("dislike", "t8", minutes_ago=29),
        ],
    )
    first = build_page(place.inputs(begun)).rows[0]
    assert first.kind == "continue_watching"
    assert [(item.item_id, item.reason) for item in first.items] == [
        ("t3", "Continue: 42 of 100 min"),
        ("t4", "Continue: 42 min in"),
    ]


def test_an_old_start_does_not_stand_on_top() -> None:
    place = world()
    begun = member(place.catalogue, [event("progress", "t3", minutes_ago=60 * 24 * 50, value=2520)])
    rows = build_page(place.inputs(begun)).rows
    assert "continue_watching" in {one.kind for one in rows[1:]}


def test_top_picks_keep_to_the_cap_of_a_genre() -> None:
    place = world()
    page = build_page(
        place.inputs(comedy_fan(place.catalogue), params=PageParams(genre_cap=5, row_size=10, diversity_depth=250))
    )
    picked = row(page, "top_picks").items
    assert len(picked) == 10
    for genre in GENRES:
        assert sum(genre in item.genres for item in picked) <= 5
    assert [item.score for item in picked] == sorted((item.score for item in picked), reverse=True)


def test_because_rows_hold_neighbours_of_their_title() -> None:
    place = world()
    page = build_page(place.inputs(comedy_fan(place.catalogue)))
    for one in page.rows:
        if one.kind == "because_you_watched":
            source = one.row_id.partition(":")[2]
            near = {item_id for item_id, _ in place.model.similar(source, 50)}
            assert set(shown_ids_of(one)) <= near
            assert place.catalogue[source].title in one.title


def test_titles_that_the_model_does_not_know_are_only_explored() -> None:
    place = world(300, known=150)
    page = build_page(place.inputs(comedy_fan(place.catalogue)))
    unknown = {f"t{number}" for number in range(150, 300)}
    where = {one.kind for one in page.rows if unknown & set(shown_ids_of(one))}
    assert where <= {"explore", "trending", "genre"}
    assert "explore" in where
    assert not unknown & set(shown_ids_of(row(page, "top_picks")))


def test_only_the_exploring_row_depends_on_the_seed() -> None:
    place = world()
    fan = comedy_fan(place.catalogue)
    pages = [build_page(place.inputs(fan, seed=seed)) for seed in range(8)]
    for page in pages[1:]:
        assert [one.row_id for one in page.rows] == [one.row_id for one in pages[0].rows]
        assert [one.value for one in page.rows] == [one.value for one in pages[0].rows]
        assert [one for one in page.rows if one.kind != "explore"] == [o for o in pages[0].rows if o.kind != "explore"]
    assert len({tuple(shown_ids_of(row(page, "explore"))) for page in pages}) == 8


def test_everything_but_exploring_has_propensity_one() -> None:
    place = world()
    page = build_page(place.inputs(comedy_fan(place.catalogue)))
    for one in page.rows:
        for item in one.items:
            assert (item.propensity == 1.0) == (one.kind != "explore")


def test_titles_published_later_do_not_change_a_page_of_an_older_snapshot() -> None:
    place, bigger = world(200), world(300)
    fan = comedy_fan(place.catalogue)
    inputs = place.inputs(fan)
    later = type(place)(bigger.catalogue, place.snapshot, place.model).inputs(fan)
    assert build_page(inputs) == build_page(later)


def test_a_member_gone_for_decades_still_has_favourite_genres() -> None:
    place = world()
    comedies = [title.item_id for title in place.catalogue.values() if title.genres == ("Comedy",)][:5]
    old = member(place.catalogue, [event("play", i, minutes_ago=60 * 24 * 365 * 20) for i in comedies])
    assert row(build_page(place.inputs(old)), "genre:Comedy").reason == "You often watch Comedy"
