from __future__ import annotations

from pathlib import Path

import pytest

from streams.catalogue import Title
from streams.errors import FixRequest
from streams.events import check_event
from streams.importers.movielens import read_movielens, split_title
from tests.streams.importers.real_data import folder_or_skip

MOVIES = """movieId,title,genres
1,Toy Story (1995),Adventure|Animation
2,"American President, The (1995)",Comedy|Romance
3,Paterson,(no genres listed)
"""
RATINGS = """userId,movieId,rating,timestamp
7,1,4.0,964982703
8,2,0.5,964982700
7,3,5.0,964982703
"""


def write(folder: Path, movies: str = MOVIES, ratings: str = RATINGS) -> Path:
    (folder / "movies.csv").write_text(movies)
    (folder / "ratings.csv").write_text(ratings)
    return folder


def test_titles_have_their_name_year_and_genres(tmp_path: Path) -> None:
    assert read_movielens(write(tmp_path)).titles == [
        Title("1", "Toy Story", 1995, ("Adventure", "Animation")),
        Title("2", "The American President", 1995, ("Comedy", "Romance")),
        Title("3", "Paterson", 0, ()),
    ]


def test_ratings_are_events_in_order_of_time_then_of_the_file(tmp_path: Path) -> None:
    events = read_movielens(write(tmp_path)).events
    assert [(e.member_id, e.item_id, e.value, e.event_time_ms) for e in events] == [
        ("8", "2", 0.5, 964982700000),
        ("7", "1", 4.0, 964982703000),
        ("7", "3", 5.0, 964982703000),
    ]
    assert {e.type for e in events} == {"rate"}
    assert len({e.event_id for e in events}) == 3


def test_the_same_files_give_the_same_events_and_address_and_others_do_not(tmp_path: Path) -> None:
    first, again = read_movielens(write(tmp_path)), read_movielens(tmp_path)
    assert (first.events, first.address) == (again.events, again.address)
    assert read_movielens(write(tmp_path, ratings=RATINGS.replace("5.0", "4.5"))).address != first.address


def test_a_rating_out_of_range_is_left_out_and_named(tmp_path: Path) -> None:
    dataset = read_movielens(write(tmp_path, ratings=RATINGS + "9,1,6.0,964982703\n9,1,4.0,99999999999\n"))
    assert len(dataset.events) == 3
    assert [(row.line, row.fix) for row in dataset.bad_rows.examples] == [
        (5, "`rating` must be a number from 0.5 to 5"),
        (6, "`timestamp` must be an integer from 0 to 4102444799"),
    ]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "movies.csv").unlink()
    with pytest.raises(FixRequest, match=r"movies\.csv: the file is not there"):
        read_movielens(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("City of Lost Children, The (Cité des enfants perdus, La) (1995)",
         ("The City of Lost Children (Cité des enfants perdus, La)", 1995)),
        ("Death Note: Desu nôto (2006–2007)", ("Death Note: Desu nôto", 2006)),
        ("2001: A Space Odyssey (1968)", ("2001: A Space Odyssey", 1968)),
        ("(500) Days of Summer (2009)", ("(500) Days of Summer", 2009)),
        ("Babylon 5", ("Babylon 5", 0)),
    ],
)  # fmt: skip
def test_titles_are_split_as_a_person_would(text: str, expected: tuple[str, int]) -> None:
    assert split_title(text) == expected


def test_the_whole_data_set_is_read() -> None:
    dataset = read_movielens(folder_or_skip("ml-latest-small"))
    assert len(dataset.events) == 100_836
    assert len({event.member_id for event in dataset.events}) == 610
    assert len(dataset.titles) == 9_742
    assert len({event.event_id for event in dataset.events}) == 100_836
    assert dataset.bad_rows.count == 0
    assert all(a.event_time_ms <= b.event_time_ms for a, b in zip(dataset.events, dataset.events[1:], strict=False))
    for event in dataset.events[::1000]:
        check_event(event)
