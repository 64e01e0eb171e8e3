from __future__ import annotations

import pytest

from serving.pages.builder import PageInputs, build_page
from serving.pages.explain import Explanation, explain_item
from serving.pages.page import Page
from tests.serving.pages.world import comedy_fan, event, member, shown_ids, world

PLACE = world()


@pytest.fixture(scope="module")
def inputs() -> PageInputs:
    return PLACE.inputs(comedy_fan(PLACE.catalogue))


@pytest.fixture(scope="module")
def page(inputs: PageInputs) -> Page:
    return build_page(inputs)


def explain(inputs: PageInputs, page: Page, item_id: str) -> Explanation:
    return explain_item(inputs, page, item_id)


def test_every_title_shown_says_where_and_why(inputs: PageInputs, page: Page) -> None:
    for row_position, row in enumerate(page.rows):
        for position, item in enumerate(row.items[:3]):
            said = explain(inputs, page, item.item_id)
            assert (said.status, said.row_id, said.row_position, said.position) == (
                "shown",
                row.row_id,
                row_position,
                position,
            )
            assert item.reason in said.sentence
            assert said.score == item.score
            assert abs(sum(said.parts.values()) - item.score) < 1e-4


def test_a_drawn_title_says_its_chance(inputs: PageInputs, page: Page) -> None:
    item = next(row for row in page.rows if row.kind == "explore").items[0]
    assert f"{item.propensity:.1%}" in explain(inputs, page, item.item_id).sentence


def test_every_title_not_shown_says_how_it_stood(inputs: PageInputs, page: Page) -> None:
    ranks = set()
    for item_id in set(PLACE.catalogue) - set(shown_ids(page)):
        said = explain(inputs, page, item_id)
        assert said.status in ("outranked", "not-drawn", "seen")
        if said.status == "seen":
            continue
        assert said.rank is not None
        assert said.of is not None
        assert 1 <= said.rank <= said.of == len(PLACE.catalogue) - 12
        ranks.add(said.rank)
        for standing in said.standings:
            assert 1 <= standing.rank <= standing.of
            assert standing.why_not in said.sentence
        genres = {f"genre:{genre}" for genre in PLACE.catalogue[item_id].genres}
        shown = {row.row_id for row in page.rows}
        assert genres & shown <= {standing.row_id for standing in said.standings}
    assert len(ranks) > 50


def test_a_title_below_the_cutoff_says_both_scores(inputs: PageInputs, page: Page) -> None:
    picks = next(row for row in page.rows if row.kind == "top_picks")
    cutoff = min(item.score for item in picks.items)
    below = [
        (said, standing)
        for item_id in PLACE.catalogue
        for said in [explain(inputs, page, item_id)]
        for standing in said.standings
        if standing.row_id == "top_picks" and said.score is not None and said.score < cutoff
    ]
    assert below
    said, standing = below[0]
    assert standing.cutoff == cutoff
    assert f"{said.score:.3f}" in standing.why_not
    assert f"{cutoff:.3f}" in standing.why_not


def test_a_seen_title_says_when(inputs: PageInputs, page: Page) -> None:
    seen = next(t.item_id for t in PLACE.catalogue.values() if "Comedy" in t.genres)
    said = explain(inputs, page, seen)
    assert said.status == "seen"
    assert "play, 2023-11-14, 12 hours ago" in said.sentence


def test_a_disliked_and_an_unknown_title_say_so() -> None:
    state = member(PLACE.catalogue, [event("play", "t1"), event("dislike", "t2")])
    inputs = PLACE.inputs(state)
    page = build_page(inputs)
    assert explain(inputs, page, "t2").status == "disliked"
    unknown = explain(inputs, page, "nothing")
    assert unknown.status == "unknown-title"
    assert unknown.sentence == "No title with the id nothing was in the catalogue when the page was made."


def test_a_title_that_the_model_does_not_know_says_so() -> None:
    place = world(300, known=100)
    inputs = place.inputs(comedy_fan(place.catalogue))
    page = build_page(inputs)
    absent = next(f"t{number}" for number in range(100, 300) if f"t{number}" not in shown_ids(page))
    said = explain(inputs, page, absent)
    assert not said.known
    assert said.parts == {}
    assert "The model does not know it yet." in said.sentence
