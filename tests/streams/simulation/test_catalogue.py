from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from streams.catalogue import Catalogue
from streams.errors import FixRequest
from streams.simulation.catalogue import NEWEST_YEAR, generate_catalogue, series_of
from streams.simulation.names import ADJECTIVES, GENRES, NOUNS


def test_the_same_seed_gives_the_same_titles_and_another_seed_others() -> None:
    first = generate_catalogue(np.random.default_rng(3), 2_000)
    assert first == generate_catalogue(np.random.default_rng(3), 2_000)
    assert first != generate_catalogue(np.random.default_rng(4), 2_000)


def test_titles_differ_in_name_and_id_and_are_complete() -> None:
    titles = generate_catalogue(np.random.default_rng(1), 2_500)
    assert len(titles) == len(Catalogue(titles)) == len({title.title for title in titles}) == 2_500
    for title in titles:
        assert 1 <= len(title.genres) == len(set(title.genres)) <= 3
        assert set(title.genres) <= set(GENRES)
        assert 1900 <= title.year <= NEWEST_YEAR
        assert 40 * 60 <= title.duration_s <= 150 * 60


def test_every_genre_has_titles_and_words() -> None:
    titles = generate_catalogue(np.random.default_rng(1), 2_000)
    assert min(Counter(genre for title in titles for genre in title.genres)[genre] for genre in GENRES) >= 20
    assert set(ADJECTIVES) == set(NOUNS) == set(GENRES)


def test_a_series_shares_its_genres_and_its_years_go_up() -> None:
    titles = {series_of(t.title): t for t in generate_catalogue(np.random.default_rng(1), 2_000)}
    sequels = [(titles[(name, number - 1)], title) for (name, number), title in titles.items() if number > 1]
    assert len(sequels) > 300
    assert all(before.genres == after.genres and before.year <= after.year for before, after in sequels)


@pytest.mark.parametrize("titles", [0, -1, 100_001])
def test_a_catalogue_has_bounds(titles: int) -> None:
    with pytest.raises(FixRequest):
        generate_catalogue(np.random.default_rng(1), titles)


def test_a_single_title_is_a_catalogue_too() -> None:
    assert len(generate_catalogue(np.random.default_rng(1), 1)) == 1
