"""Why each top pick is there: the part of its score that stands out, put into words that are true of the member."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Return a reason for each title: what the part of its score that stands out most among the candidates claims, if
    that can be shown true of this member, else whatever can."""
    source_of = _source_of(draft)
    favourites = draft.taste.favourite_genres[:FAVOURITES]
    return [
        _reason(draft, row, claim, int(source_of[row]), favourites)
        for row, claim in zip(rows, _claims(draft, rows), strict=True)
    ]


def _claims(draft: Draft, rows: Sequence[int]) -> list[str]:
    """Return what the part of each title's score that is highest above the candidates' mean would have one say."""
    scores = draft.scores
    if scores is None:
        return [POPULAR] * len(rows)
    names = [CLAIMS.get(name, "") for name in scores.part_names]
    usual = scores.parts_at(draft.ranked).mean(axis=1, keepdims=True)
    largest = np.argmax(scores.parts_at(np.asarray(rows, np.intp)) - usual, axis=0).tolist()
    return [names[part] for part in largest]


def _source_of(draft: Draft) -> NDArray[np.int32]:
    """Return int32 [T]: the number of the newest source that a title is similar to, -1 for none."""
    source_of = np.full(len(draft.score), -1, np.int32)
    if draft.model is not None:
        for number in range(len(draft.taste.sources) - 1, -1, -1):
            source_of[draft.model.neighbour_rows(draft.taste.sources[number].row, draft.shelves.snapshot)] = number
    return source_of


def _reason(draft: Draft, row: int, claim: str, source: int, favourites: Sequence[int]) -> str:
    similar = _similar(draft, source) if source >= 0 else None
    genre = _genre(draft, row, favourites)
    weekly = draft.shelves.weekly[row]
    popular = reasons.popular(weekly, draft.shelves.period) if weekly >= 1 or _is_popular(draft, row) else None
    said = {SIMILAR: similar, GENRE: genre, POPULAR: popular}
    return said.get(claim) or similar or genre or popular or reasons.PICKED


def _similar(draft: Draft, source: int) -> str:
    taken = draft.taste.sources[source]
    return reasons.because(taken.entry, draft.shelves.index.titles[taken.row].title)


def _genre(draft: Draft, row: int, favourites: Sequence[int]) -> str | None:
    index = draft.shelves.index
    mine = index.genre_numbers[row]
    return next((reasons.genre_watched(index.genres[number]) for number in favourites if number in mine), None)


def _is_popular(draft: Draft, row: int) -> bool:
    return bool(draft.shelves.is_popular[row])
