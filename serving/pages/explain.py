"""Why a title is on a page, or why it is not: in words, with the numbers that decided."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.pages.builder import PageInputs, start_draft
from serving.pages.draft import Draft
from serving.pages.page import Page, PageTitle, Row
from serving.pages.reasons import ago
from serving.pages.shelves import Rows
from streams.features.member import disliked

Status = Literal["shown", "unknown-title", "disliked", "seen", "outranked", "not-drawn"]
"""outranked: others had higher scores in every row it could be in. not-drawn: left out by the exploring draw alone."""


class Standing(msgspec.Struct, frozen=True):
    """How a title stood for one row. rank: by score, from 1, of `of` titles that could be in the row. cutoff: the least
    score shown there, None for a row that is not filled by score."""

    row_id: str
    rank: int
    of: int
    cutoff: float | None
    why_not: str


class Explanation(msgspec.Struct, frozen=True):
    """Why a title is where it is. sentence: all of it in words. parts: contributions that sum to the score.

    row_id, position, propensity: where it is shown. rank, of: by score among all titles that might be recommended.
    score: None for a title that is not scored. standings: for a title not shown, how it did in each row it could be in.
    """

    item_id: str
    status: Status
    sentence: str
    score: float | None = None
    known: bool = False
    """Whether the model knows the title; others have the lowest score."""
    parts: dict[str, float] = {}
    rank: int | None = None
    of: int | None = None
    row_id: str | None = None
    row_position: int | None = None
    position: int | None = None
    propensity: float | None = None
    standings: list[Standing] = []


def explain_item(inputs: PageInputs, page: Page, item_id: str) -> Explanation:
    """Return why a title is, or is not, on a page that was built from these inputs."""
    draft = start_draft(inputs)
    row = draft.shelves.index.order.rows.get(item_id)
    if row is None:
        sentence = f"No title with the id {item_id} was in the catalogue when the page was made."
        return Explanation(item_id, "unknown-title", sentence)
    found = _find(page, item_id)
    if found is not None:
        return _shown(draft, row, *found)
    refusal = _refusal(inputs, draft, row)
    if refusal is not None:
        status, sentence = refusal
        return _scored(draft, row, status, sentence, [])
    return _absent(draft, page, row)


def _find(page: Page, item_id: str) -> tuple[Row, int, int, PageTitle] | None:
    for row_position, row in enumerate(page.rows):
        for position, item in enumerate(row.items):
            if item.item_id == item_id:
                return row, row_position, position, item
    return None


def _shown(draft: Draft, row: int, shown: Row, row_position: int, position: int, item: PageTitle) -> Explanation:
    chance = "" if item.propensity == 1.0 else f" It was drawn: its chance of standing here was {item.propensity:.1%}."
    sentence = (
        f"{item.title} is title {position + 1} of row {row_position + 1}, “{shown.title}”: {item.reason}. "
        f"{_by_score(draft, row)}{chance}"
    )
    explained = _scored(draft, row, "shown", sentence, [])
    return msgspec.structs.replace(
        explained, row_id=shown.row_id, row_position=row_position, position=position, propensity=item.propensity
    )


def _refusal(inputs: PageInputs, draft: Draft, row: int) -> tuple[Status, str] | None:
    title = draft.shelves.index.titles[row]
    if inputs.state is not None and title.item_id in disliked(inputs.state):
        return "disliked", f"{title.title} is left out because the member disliked it."
    if row in draft.taste.closed:
        newest = next((entry for entry in draft.taste.history if entry.item_id == title.item_id), None)
        when = (
            ""
            if newest is None
            else f" ({newest.type}, {_date(newest.event_time_ms)}, {ago(draft.now_ms - newest.event_time_ms)})"
        )
        return "seen", f"{title.title} is left out because the member has already seen it{when}."
    return None


def _absent(draft: Draft, page: Page, row: int) -> Explanation:
    standings = [standing for shown in page.rows if (standing := _standing(draft, shown, row)) is not None]
    drawn = any(standing.row_id == "explore" for standing in standings)
    beaten = [standing for standing in standings if standing.cutoff is not None]
    status: Status = "not-drawn" if drawn and not beaten else "outranked"
    title = draft.shelves.index.titles[row].title
    because = " ".join(standing.why_not for standing in standings) or "No row on this page takes titles like it."
    return _scored(draft, row, status, f"{title} is not on the page. {_by_score(draft, row)} {because}", standings)


def _scored(draft: Draft, row: int, status: Status, sentence: str, standings: list[Standing]) -> Explanation:
    rank, of = _rank(draft, np.nonzero(draft.free)[0], row)
    scores = draft.scores
    return Explanation(
        draft.shelves.index.titles[row].item_id,
        status,
        sentence.strip(),
        score=float(draft.score[row]),
        known=bool(scores is not None and scores.known[row]),
        parts=scores.parts_of(row) if scores is not None else {},
        rank=rank if draft.free[row] else None,
        of=of,
        standings=standings,
    )


def _by_score(draft: Draft, row: int) -> str:
    if not draft.free[row]:
        return ""
    rank, of = _rank(draft, np.nonzero(draft.free)[0], row)
    scores = draft.scores
    if scores is None or not scores.known[row]:
        return "The model does not know it yet."
    parts = sorted(scores.parts_of(row).items(), key=lambda part: -abs(part[1]))
    said = ", ".join(f"{name} {value:+.3f}" for name, value in parts)
    return f"By score it is {rank} of {of} ({draft.score[row]:.3f}: {said})."


def _rank(draft: Draft, pool: Rows, row: int) -> tuple[int, int]:
    """Return the rank of a title by score in a pool, from 1, and the size of the pool; equals in catalogue order."""
    score: NDArray[np.float32] = draft.score[pool]
    own = draft.score[row]
    return int((score > own).sum() + ((score == own) & (pool < row)).sum()) + 1, len(pool)


def _standing(draft: Draft, shown: Row, row: int) -> Standing | None:
    """Return how a title stood for a row, None if it could not have been in it."""
    pool = _POOLS[shown.kind](draft, shown)
    pool = pool[draft.free[pool]]
    if row not in pool:
        return None
    rank, of = _rank(draft, pool, row)
    if shown.kind == "explore":
        return Standing(shown.row_id, rank, of, None, f"For “{shown.title}” others were drawn, or stood before it.")
    cutoff = min((item.score for item in shown.items), default=0.0)
    own = float(draft.score[row])
    if own < cutoff:
        fell = f"its score {own:.3f} is below the lowest shown, {cutoff:.3f}"
    else:
        fell = "variety, or its place in the order of demand, put others before it"
    return Standing(shown.row_id, rank, of, cutoff, f"For “{shown.title}” it ranked {rank} of {of}: {fell}.")


def _all(draft: Draft, shown: Row) -> Rows:
    return np.arange(len(draft.score))


def _recommendable(draft: Draft, shown: Row) -> Rows:
    return _all(draft, shown) if draft.scores is None else np.nonzero(draft.scores.known)[0]


def _near(draft: Draft, shown: Row) -> Rows:
    row = draft.shelves.index.order.rows.get(shown.row_id.partition(":")[2])
    if row is None or draft.model is None:
        return np.empty(0, np.intp)
    return draft.model.neighbour_rows(row, draft.shelves.snapshot)


def _of_genre(draft: Draft, shown: Row) -> Rows:
    index = draft.shelves.index
    genre = shown.row_id.partition(":")[2]
    return np.nonzero(index.flags[index.genres.index(genre)])[0] if genre in index.genres else np.empty(0, np.intp)


def _explorable(draft: Draft, shown: Row) -> Rows:
    return np.union1d(draft.ranked[draft.shelves.explorable[draft.ranked]], draft.shelves.newest)


_POOLS: Final[dict[str, Callable[[Draft, Row], Rows]]] = {
    "continue_watching": lambda draft, shown: np.empty(0, np.intp),
    "top_picks": _recommendable,
    "trending": lambda draft, shown: draft.shelves.trending,
    "because_you_watched": _near,
    "genre": _of_genre,
    "explore": _explorable,
    "popular": _all,
}
"""By kind of row: the titles that could be in it, whatever their score."""


def _date(time_ms: int) -> str:
    return str(np.datetime64(time_ms, "ms").astype("datetime64[D]"))
