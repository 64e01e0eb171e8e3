"""A draft: the page while its rows are being filled. Titles are row numbers; each may be taken once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.pages.page import RowKind
from serving.pages.params import PageParams
from serving.pages.shelves import Mask, Rows, Shelves
from serving.pages.taste import Taste
from serving.ranking.model import RankingModel, Scores

EXAMINED: Final = 1.0 / np.log2(np.arange(64) + 2.0)
"""The chance that a member looks at each position of a row, falling as in discounted cumulative gain (Järvelin and
Kekäläinen, TOIS 2002); rows are shorter than this."""


class DraftRow(NamedTuple):
    """A row as chosen. value: the expected number of its titles that the member takes up.

    reasons: one for each title; propensities: None where all are 1.
    """

    row_id: str
    kind: RowKind
    title: str
    reason: str
    value: float
    rows: Sequence[int]
    reasons: Sequence[str]
    propensities: Sequence[float] | None = None


@dataclass(slots=True)
class Draft:
    """What rows are filled from. score, chance: float32 [T]; chance is that of being the title taken up next.

    ranked: the best titles that may be recommended, by score. free: bool [T], what may still be put on the page.
    model, scores: what `score` comes from; None on a page that is made without a model.
    """

    shelves: Shelves
    taste: Taste
    params: PageParams
    now_ms: int
    seed: int
    score: NDArray[np.float32]
    chance: NDArray[np.float32]
    ranked: Rows
    free: Mask
    model: RankingModel | None = None
    scores: Scores | None = None
    rows: list[DraftRow] = field(default_factory=list)

    def take(self, rows: Sequence[int]) -> None:
        """Note that titles are on the page."""
        self.free[rows] = False

    def best(self, candidates: Rows, size: int) -> list[int]:
        """Return the first `size` of the candidates that are still free, in their order."""
        left: list[int] = candidates[self.free[candidates]][:size].tolist()
        return left

    def by_score(self, candidates: Rows, size: int) -> list[int]:
        """Return the best `size` of the candidates that are still free, by score; equals in order of the catalogue."""
        left = candidates[self.free[candidates]]
        order = np.lexsort((left, -self.score[left]))[:size]
        best: list[int] = left[order].tolist()
        return best

    def value_of(self, rows: Sequence[int]) -> float:
        """Return the expected number of these titles that the member takes up, shown in this order."""
        return float(EXAMINED[: len(rows)] @ self.chance[rows])

    def enough(self, rows: Sequence[int]) -> bool:
        """Return whether titles are enough for a row."""
        return len(rows) >= self.params.row_min

    def add(self, row: DraftRow, *, always: bool = False) -> None:
        """Put a row on the page, its value weighted; one of a kind that the page may not have is left out, and its
        titles stay free, unless it is to be there `always`."""
        if not (always or self.params.allows(row.kind)):
            return
        self.take(row.rows)
        if self.params.row_weights is not None:
            row = row._replace(value=row.value * self.params.weight(row.kind))
        self.rows.append(row)


RowMaker = Callable[[Draft], None]
"""Adds its row or rows to the draft, or nothing where there are too few titles."""


def cheapest(cost: NDArray[np.float32], limit: int) -> Rows:
    """Return up to `limit` rows of finite cost, the least cost first, equals in order of the catalogue."""
    threshold = np.partition(cost, limit)[limit] if len(cost) > limit else np.inf
    kept = np.nonzero(cost <= threshold)[0]  # with all of one cost, so that the order alone says who is cut off
    costs = cost[kept]
    order = np.argsort(costs, kind="stable")[:limit]
    return kept[order[: np.searchsorted(costs[order], np.inf)]]
