"""The popular page: the last step of the ladder. It needs no model and no state, and takes the same row makers."""

from __future__ import annotations

from typing import Final

import numpy as np

from serving.pages import rows
from serving.pages.builder import fill, in_order, render
from serving.pages.draft import Draft, RowMaker
from serving.pages.page import Page, PageContext
from serving.pages.params import DEFAULT_PARAMS, PageParams
from serving.pages.shelves import shelves_of
from serving.pages.taste import read_taste
from serving.titles.snapshot import TitleSnapshot
from streams.catalogue import Catalogue
from streams.positions import NOTHING

POPULAR_ROWS: Final[tuple[RowMaker, ...]] = (rows.trending, rows.popular, rows.genre_rows)


def popular_page(
    catalogue: Catalogue, snapshot: TitleSnapshot, context: PageContext, params: PageParams = DEFAULT_PARAMS
) -> Page:
    """Return what is popular, the same for everybody but for the exploring row's draw; no rows for an empty catalogue.

    Scores are log(1 + popularity), row values the expected number of plays if members took titles up by popularity.
    """
    draft = popular_draft(catalogue, snapshot, context, params)
    fill(draft, POPULAR_ROWS)
    return Page(
        member_id=context.member_id,
        rows=[render(draft, row) for row in in_order(draft)],
        computed_at_ms=context.now_ms,
        model_version=None,
        feature_position=NOTHING,
        feature_time_ms=0,
        title_snapshot=snapshot.address,
    )


def popular_draft(catalogue: Catalogue, snapshot: TitleSnapshot, context: PageContext, params: PageParams) -> Draft:
    """Return a draft in which popularity is the score."""
    shelves = shelves_of(catalogue, snapshot, params)
    popularity = shelves.popularity
    total = max(float(popularity.sum()), 1e-12)
    return Draft(
        shelves=shelves,
        taste=read_taste(None, shelves.index, params, context.now_ms),
        params=params,
        now_ms=context.now_ms,
        seed=context.seed,
        score=np.log1p(popularity),
        chance=popularity / np.float32(total),
        ranked=shelves.popular,
        free=np.ones(len(shelves.index), np.bool_),
    )
