"""Why each top pick is there: the part of its score that stands out, put into words that are true of the member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.pages import reasons
from serving.pages.draft import Draft

SIMILAR, GENRE, POPULAR = "similar", "genre", "popular"
CLAIMS: Final = {
    "history": SIMILAR,
    "sequence": SIMILAR,
    "affinity": GENRE,
    "taste": GENRE,
    "genre": GENRE,
    "popularity": POPULAR,
    "trend": POPULAR,
}
"""What a part of the score, by its name, would have the reason say."""
FAVOURITES: Final = 5
"""Genres that a member may be told they often watch."""


def top_pick_reasons(draft: Draft, rows: Sequence[int]) -> list[str]:
    """Return a reason for each title: what the part of its score that stands out most among them claims, if that can be
    shown true of this member, else whatever can."""
    source_of = _source_of(draft)
    genres = draft.shelves.index.genres
    taste = draft.taste
    favourites = {
        number: reasons.genre_watched(genres[number], int(taste.watched[number]))
        for number in taste.favourite_genres[:FAVOURITES]
    }
    return [
        _reason(draft, row, claim, source, favourites)
        for row, claim, source in zip(rows, _claims(draft, rows), source_of[rows].tolist(), strict=True)
    ]


def _claims(draft: Draft, rows: Sequence[int]) -> list[str]:
    """Return what the part of each title's score that is highest above the mean of these titles would have one say."""
    scores = draft.scores
    if scores is None:
        return [POPULAR] * len(rows)
    names = [CLAIMS.get(name, "") for name in scores.part_names]
    parts = scores.parts_at(np.array(rows, np.intp))
    usual = np.add.reduce(parts, axis=1, keepdims=True) / np.float32(len(rows))
    return [names[part] for part in (parts - usual).argmax(axis=0).tolist()]


def _source_of(draft: Draft) -> NDArray[np.intp]:
    """Return intp [T]: the number of the newest source that a title is similar to, -1 for none."""
    if draft.model is None:
        return np.full(len(draft.score), -1, np.intp)
    rows = np.array([source.row for source in draft.taste.sources], np.intp)
    return draft.model.nearest_of(rows, draft.shelves.snapshot)


def _reason(draft: Draft, row: int, claim: str, source: int, favourites: Mapping[int, str]) -> str:
    said = None
    if claim == GENRE:
        said = _genre(draft, row, favourites)
    elif claim == POPULAR:
        said = _popular(draft, row)
    return said or _similar(draft, source) or _genre(draft, row, favourites) or _popular(draft, row) or reasons.PICKED


def _similar(draft: Draft, source: int) -> str | None:
    if source < 0:
        return None
    taken = draft.taste.sources[source]
    return reasons.because(taken.entry, draft.shelves.index.titles[taken.row].title)


def _genre(draft: Draft, row: int, favourites: Mapping[int, str]) -> str | None:
    """Return the sentence of the genre that the member likes best among the title's."""
    mine = draft.shelves.index.genre_numbers[row]
    for number, sentence in favourites.items():
        if number in mine:
            return sentence
    return None


def _popular(draft: Draft, row: int) -> str | None:
    weekly = float(draft.shelves.weekly[row])
    if weekly >= reasons.SPOKEN_COUNT or draft.shelves.is_popular[row]:
        return reasons.popular(weekly, draft.shelves.period)
    return None
