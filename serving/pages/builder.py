"""Builds a page: a pure function of the member's state, the titles' snapshot, the model and what was asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.pages import rows
from serving.pages.draft import Draft, DraftRow, RowMaker, cheapest
from serving.pages.page import Page, PageContext, PageTitle, Row
from serving.pages.params import DEFAULT_PARAMS, PageParams
from serving.pages.shelves import Mask, shelves_of
from serving.pages.taste import read_taste
from serving.ranking.model import RankingModel
from serving.titles.snapshot import TitleSnapshot
from streams.catalogue import Catalogue
from streams.features.entity_state import EntityState
from streams.features.member import MEMBER
from streams.positions import NOTHING

__all__ = ["DEFAULT_PARAMS", "PageInputs", "PageParams", "build_page", "prepare"]

KNOWN_MEMBER: Final[tuple[RowMaker, ...]] = (
    rows.continue_watching,
    rows.top_picks,
    rows.because_you_watched,
    rows.genre_rows,
    rows.trending,
)
"""Rows in the order in which they choose; the order on the page is by value."""

NEW_MEMBER: Final[tuple[RowMaker, ...]] = (
    rows.continue_watching,
    rows.trending,
    rows.popular,
    rows.genre_rows,
)


@dataclass(frozen=True, slots=True)
class PageInputs:
    """Everything that a page is a function of. state: None for a member without events.

    Titles are those of the snapshot; the catalogue says what they are, and may have more.
    """

    state: EntityState | None
    catalogue: Catalogue
    snapshot: TitleSnapshot
    model: RankingModel
    context: PageContext
    params: PageParams = DEFAULT_PARAMS


def prepare(
    catalogue: Catalogue, snapshot: TitleSnapshot, model: RankingModel | None, params: PageParams = DEFAULT_PARAMS
) -> None:
    """Compute ahead, off the request path, what the first page of a new snapshot or model would wait for."""
    shelves_of(catalogue, snapshot, params)
    if model is not None:
        model.bind(snapshot)


def build_page(inputs: PageInputs) -> Page:
    """Return the member's page. No title is on it twice; none that was seen is, but in `continue watching`.

    A member without any sign of liking gets what is popular and new. With a catalogue of a few titles the page has a
    short row or two, with an empty one none.
    """
    draft = start_draft(inputs)
    makers = KNOWN_MEMBER if draft.taste.sources or draft.taste.favourite_genres else NEW_MEMBER
    fill(draft, makers)
    state = inputs.state
    return Page(
        member_id=inputs.context.member_id,
        rows=[render(draft, row) for row in in_order(draft)],
        computed_at_ms=inputs.context.now_ms,
        model_version=inputs.model.version,
        feature_position=state.position if state is not None else NOTHING,
        feature_time_ms=state.watermark_ms if state is not None else 0,
        title_snapshot=inputs.snapshot.address,
    )


def start_draft(inputs: PageInputs) -> Draft:
    """Return the draft of a page: every title scored, none taken."""
    context, params, model = inputs.context, inputs.params, inputs.model
    shelves = shelves_of(inputs.catalogue, inputs.snapshot, params)
    taste = read_taste(inputs.state, shelves.index, params, context.now_ms)
    state = inputs.state if inputs.state is not None else MEMBER.initialize()
    member = MEMBER.vector(state, model.member_features, context.now_ms)
    scores = model.score(taste.history, member, inputs.snapshot, context.now_ms)
    free = np.ones(len(shelves.index), np.bool_)
    free[taste.closed] = False
    cost = -scores.score
    cost[taste.closed] = np.inf
    if not scores.all_known:
        cost[~scores.known] = np.inf
    return Draft(
        shelves=shelves,
        taste=taste,
        params=params,
        now_ms=context.now_ms,
        seed=context.seed,
        score=scores.score,
        chance=softmax(scores.score, free),
        ranked=cheapest(cost, params.candidates),
        free=free,
        model=model,
        scores=scores,
    )


def softmax(score: NDArray[np.float32], free: Mask) -> NDArray[np.float32]:
    """Return float32 [T], the chance that each title is the next taken up, against those that are free.

    The model's scores are utilities of a conditional logit (McFadden 1974).
    """
    if not len(score):
        return score
    chance: NDArray[np.float32] = score - score.max()
    np.exp(chance, out=chance)
    chance /= max(float(chance @ free.astype(np.float32)), 1e-12)
    return chance


def fill(draft: Draft, makers: tuple[RowMaker, ...]) -> None:
    """Make the rows: those of the makers; if all were too short (a tiny catalogue), one of what there is; exploring.

    If the page may not have any of them, it gets the one of what there is all the same."""
    for make in makers:
        make(draft)
    if all(row.kind == "continue_watching" for row in draft.rows):
        rows.everything(draft)
    rows.explore(draft)
    if not draft.rows:
        rows.everything(draft, always=True)


def in_order(draft: Draft) -> list[DraftRow]:
    """Return the rows by predicted value, the highest first; equals in the order in which they were made."""
    return sorted(draft.rows, key=lambda row: -row.value)


def render(draft: Draft, row: DraftRow) -> Row:
    """Return a row as it is shown."""
    facts = draft.shelves.index.facts
    scores = draft.score[row.rows].tolist()
    propensities = row.propensities or [1.0] * len(row.rows)
    items = [
        PageTitle(*facts[number], score, propensity, reason)
        for number, score, propensity, reason in zip(row.rows, scores, propensities, row.reasons, strict=True)
    ]
    return Row(row.row_id, row.kind, row.title, row.reason, row.value, items)
