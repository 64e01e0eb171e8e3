"""MovieLens in its published CSV form, as interactions. (Harper and Konstan, "The MovieLens Datasets", TiiS 2015.)"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from training_bridge.ranker.interactions import Interactions, build_interactions
from training_bridge.ranker.titles_meta import UNKNOWN_YEAR, TitlesMeta, build_titles_meta

YEAR = re.compile(r"\((\d{4})\)\s*$")
NO_GENRES = "(no genres listed)"


def read_movielens(folder: Path) -> tuple[Interactions, TitlesMeta]:
    """Return the ratings and the titles of a folder with ratings.csv and movies.csv. Raises OSError without them."""
    with (folder / "movies.csv").open(newline="", encoding="utf-8") as file:
        movies = list(csv.DictReader(file))
    with (folder / "ratings.csv").open(newline="", encoding="utf-8") as file:
        ratings = list(csv.DictReader(file))
    meta = build_titles_meta(
        [[genre for genre in movie["genres"].split("|") if genre != NO_GENRES] for movie in movies],
        [release_year(movie["title"]) for movie in movies],
    )
    log = build_interactions(
        [movie["movieId"] for movie in movies],
        [rating["userId"] for rating in ratings],
        [rating["movieId"] for rating in ratings],
        ["rate"] * len(ratings),
        np.array([int(rating["timestamp"]) * 1_000 for rating in ratings], np.int64),
        [rate_strength(float(rating["rating"])) for rating in ratings],
    )
    return log, meta


def release_year(title: str) -> int:
    """Return the year at the end of a title, as in "Toy Story (1995)"; UNKNOWN_YEAR without one."""
    found = YEAR.search(title)
    return int(found.group(1)) if found else UNKNOWN_YEAR


def rate_strength(stars: float) -> float:
    """Return a rating's strength: -1 to 2, 0 at 2.5 stars."""
    return min(max((stars - 2.5) / 1.25, -1.0), 2.0)
