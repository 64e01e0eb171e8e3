"""The catalogue: titles stay as published, and come back as they went in."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.catalogue import GRACE_MS, MAX_GENRES, Catalogue, Title, check_title, publish_titles, read_catalogue
from streams.errors import FixRequest
from streams.settings import Settings
from streams.stores.sql import open_sql

NOW_MS = 1_700_000_000_000


@pytest.fixture
def engine(sql_engine: sa.Engine) -> sa.Engine:
    return sql_engine


def _title(item_id: str, *genres: str) -> Title:
    return Title(item_id, f"Title {item_id}", 1999, genres or ("Drama",))


def test_a_catalogue_without_titles_is_empty(engine: sa.Engine) -> None:
    assert len(read_catalogue(engine)) == 0
    assert publish_titles(engine, [], NOW_MS) == 0
    assert read_catalogue(engine).genres == ()


def test_a_title_is_live_a_grace_after_it_is_published(engine: sa.Engine) -> None:
    assert publish_titles(engine, [_title("a")], NOW_MS) == 1
    assert read_catalogue(engine)["a"].live_from_ms == NOW_MS + GRACE_MS


def test_a_published_title_stays_as_it_is(engine: sa.Engine) -> None:
    publish_titles(engine, [_title("a", "Drama")], NOW_MS)
    assert publish_titles(engine, [_title("a", "Comedy"), _title("b"), _title("b")], NOW_MS + 5) == 1
    catalogue = read_catalogue(engine)
    assert catalogue["a"].genres == ("Drama",)
    assert catalogue["a"].live_from_ms == NOW_MS + GRACE_MS


def test_titles_are_in_the_order_of_publication_then_of_ids(engine: sa.Engine) -> None:
    publish_titles(engine, [_title("c"), _title("b")], NOW_MS)
    publish_titles(engine, [_title("a")], NOW_MS + 1)
    assert list(read_catalogue(engine)) == ["b", "c", "a"]


def test_a_catalogue_is_a_mapping_that_knows_its_genres() -> None:
    catalogue = Catalogue([_title("a", "War", "Drama"), _title("b", "Comedy")])
    assert catalogue.genres == ("Comedy", "Drama", "War")
    assert "a" in catalogue
    assert catalogue.get("x") is None
    with pytest.raises(KeyError):
        catalogue["x"]


_words = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="|"), min_size=1)
_titles = st.builds(
    Title,
    item_id=_words.map(lambda word: word[:30]),
    title=st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=50),
    year=st.integers(0, 9_999),
    genres=st.lists(_words.map(lambda word: word[:30]), unique=True, max_size=4).map(tuple),
    duration_s=st.integers(0, 10_000_000),
)


@settings(max_examples=20, deadline=None)
@given(titles=st.lists(_titles, max_size=6, unique_by=lambda title: title.item_id))
def test_titles_come_back_as_they_went_in(titles: list[Title]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = open_sql(Settings(state=Path(folder)))
        assert publish_titles(engine, titles, -GRACE_MS) == len(titles)
        assert dict(read_catalogue(engine)) == {title.item_id: title for title in titles}
        engine.dispose()


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (Title("", "t", 2000, ()), "item_id"),
        (Title("x" * 129, "t", 2000, ()), "item_id"),
        (Title("a\n", "t", 2000, ()), "item_id"),
        (Title("a", "t" * 1_001, 2000, ()), "title"),
        (Title("a", "t", -1, ()), "year"),
        (Title("a", "t", 10_000, ()), "year"),
        (Title("a", "t", 2000, ("Sci-Fi|Horror",)), "genres"),
        (Title("a", "t", 2000, ("",)), "genres"),
        (Title("a", "t", 2000, ("Drama", "Drama")), "genres"),
        (Title("a", "t", 2000, tuple(map(str, range(MAX_GENRES + 1)))), "genres"),
        (Title("a", "t", 2000, (), -1), "duration_s"),
        (Title("a", "t", 2000, (), 2**70), "duration_s"),
    ],
)
def test_a_title_out_of_bounds_is_refused_by_field_and_nothing_published(
    engine: sa.Engine, bad: Title, field: str
) -> None:
    with pytest.raises(FixRequest) as refused:
        publish_titles(engine, [_title("good"), bad], NOW_MS)
    assert refused.value.field == field
    assert len(read_catalogue(engine)) == 0


def test_real_titles_are_within_the_bounds() -> None:
    check_title(Title("1", "Amélie (Le fabuleux destin d'Amélie Poulain)", 2001, ("(no genres listed)",)))
    check_title(Title("2", "", 0, ()))


def test_publishers_of_the_same_titles_at_once_publish_each_once(tmp_path: Path, sql_url: str) -> None:
    start = threading.Barrier(3)
    published: list[int] = []

    def publish() -> None:
        engine = open_sql(Settings(state=tmp_path, sql_url=sql_url))
        start.wait(timeout=10)
        published.append(publish_titles(engine, [_title(str(number)) for number in range(3_000)], NOW_MS))
        engine.dispose()

    publishers = [threading.Thread(target=publish) for _ in range(3)]
    for publisher in publishers:
        publisher.start()
    for publisher in publishers:
        publisher.join()
    engine = open_sql(Settings(state=tmp_path, sql_url=sql_url))
    assert sorted(published) == [0, 0, 3_000]
    assert len(read_catalogue(engine)) == 3_000
    engine.dispose()
