"""MovieLens (Harper & Konstan 2015): `ratings.csv` and `movies.csv`, ratings as `rate` events."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np

from streams.catalogue import Title
from streams.events import MAX_EVENT_TIME_MS, Event
from streams.importers.columns import Column, Rows, read_columns
from streams.importers.dataset import Dataset, address_of

NO_GENRES: Final = "(no genres listed)"

_RATING_COLUMNS: Final = (
    Column("userId", "integer"),
    Column("movieId", "integer"),
    Column("rating", "number", 0.5, 5.0),
    Column("timestamp", "integer", 0, MAX_EVENT_TIME_MS // 1000 - 1),
)
_MOVIE_COLUMNS: Final = (Column("movieId", "integer"), Column("title", "text"), Column("genres", "text"))

_YEAR: Final = re.compile(r"\s*\((\d{4})(?:[-–]\d{0,4})?\)\s*$")
_TRAILING_ARTICLE: Final = re.compile(
    r"^(?P<rest>.+?), (?P<article>The|A|An|La|Le|Les|El|Los|Las|Il|Das|Der|Die)(?P<other>| \(.*\))$"
)


def read_movielens(folder: Path) -> Dataset:
    """Return the data set in `folder`; members and titles keep their ids, events are ordered by (time, file order).

    Raises FixRequest naming file, line and fix when a file is missing or not what it should be.
    """
    movies, ratings = folder / "movies.csv", folder / "ratings.csv"
    titles = read_columns(movies, _MOVIE_COLUMNS)
    rows = read_columns(ratings, _RATING_COLUMNS)
    titles.bad.extend(rows.bad)
    return Dataset("movielens", address_of(movies, ratings), _titles(titles), _events(rows), titles.bad)


def split_title(text: str) -> tuple[str, int]:
    """Return a title as a person would write it, and its year (0 if unknown).

    >>> split_title("Matrix, The (1999)")
    ('The Matrix', 1999)
    >>> split_title("Babylon 5")
    ('Babylon 5', 0)
    """
    year = _YEAR.search(text)
    name = (text[: year.start()] if year else text).strip()
    moved = _TRAILING_ARTICLE.match(name)
    if moved:
        name = f"{moved['article']} {moved['rest']}{moved['other']}"
    return name, int(year[1]) if year else 0


def _titles(rows: Rows) -> list[Title]:
    return [
        Title(str(item_id), *split_title(text), genres=() if genres == NO_GENRES else tuple(genres.split("|")))
        for item_id, text, genres in zip(rows["movieId"].tolist(), rows["title"], rows["genres"], strict=True)
    ]


def _events(rows: Rows) -> list[Event]:
    order = np.argsort(rows["timestamp"], kind="stable")
    members, items, stars, times = (rows[c.name][order].tolist() for c in _RATING_COLUMNS)
    return [
        Event(f"ml-{member}-{item}-{time}-{value}", "rate", str(member), time * 1000, str(item), value=value)
        for member, item, value, time in zip(members, items, stars, times, strict=True)
    ]
