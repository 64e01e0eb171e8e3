"""Replay: a served page computed again from its impression, and held against what was served, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from serving.pages.builder import DEFAULT_PARAMS, PageInputs, PageParams, build_page
from serving.pages.page import Page, PageContext
from serving.pages.params import with_changes
from serving.pages.popular import popular_page
from serving.ranking.model import RankingModel
from serving.titles.snapshot import TitleSnapshot
from streams.catalogue import Catalogue
from streams.errors import FixRequest, MarqueeError
from streams.features.entity_state import EntityState
from streams.features.member import MEMBER
from streams.impressions import Impression, ShownItem, ShownRow

MAX_DIFFERENCES: Final = 10
"""Differences told one by one; a page that differs in more is simply another page."""


@dataclass(frozen=True, slots=True)
class ReplaySources:
    """Where a replay finds what a page was made from; each may raise TryAgain (not there any more) or Corrupt.

    params: the defaults; the impression says in what those of its page differed."""

    catalogue: Catalogue
    snapshot: Callable[[str], TitleSnapshot]
    model: Callable[[str], RankingModel]
    params: PageParams = DEFAULT_PARAMS


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A replayed page and what it was made from. page: None if it cannot be computed, for the reason `problem`;
    inputs: None then, and for a popular page, which is made for nobody.

    equal: whether rows, titles, positions, scores and propensities are exactly those that were served. differences: the
    first few that are not, in words.
    """

    page: Page | None
    equal: bool
    problem: str | None = None
    differences: Sequence[str] = ()
    inputs: PageInputs | None = None


def recompute(impression: Impression, sources: ReplaySources) -> Recomputed:
    """Return the page of an impression computed again. Raises nothing but for programming errors."""
    inputs = None
    try:
        params = with_changes(impression.request.get("params", ""), sources.params)
        problem = _not_replayable(impression, params)
        if problem is not None:
            return Recomputed(None, False, problem)
        if impression.step == "popular":
            page = _popular_page(impression, sources, params)
        else:
            inputs = _inputs(impression, sources, params)
            page = build_page(inputs)
    except MarqueeError as error:
        return Recomputed(None, False, str(error))
    differences = compare(impression.rows, shown_rows(page))
    return Recomputed(page, not differences, None, differences, inputs)


def context_of(impression: Impression) -> PageContext:
    """Return what was asked. Raises FixRequest if the impression does not say."""
    request = impression.request
    try:
        now_ms, seed = int(request["now_ms"]), int(request["seed"])
    except (KeyError, ValueError):
        raise FixRequest("request", "the impression does not say when, or with what seed, the page was made") from None
    return PageContext(
        impression.member_id, now_ms, seed, country=request.get("country", ""), device=request.get("device", "")
    )


def shown_rows(page: Page) -> list[ShownRow]:
    """Return a page's rows in the form that impressions have."""
    return [
        ShownRow(
            row.row_id,
            row_position,
            [ShownItem(item.item_id, position, item.score, item.propensity) for position, item in enumerate(row.items)],
        )
        for row_position, row in enumerate(page.rows)
    ]


def compare(served: Sequence[ShownRow], recomputed: Sequence[ShownRow]) -> list[str]:
    """Return how two pages differ, [] if they are the same bit for bit."""
    differences = []
    if [row.row_id for row in served] != [row.row_id for row in recomputed]:
        differences.append(f"rows were {[r.row_id for r in served]}, now {[r.row_id for r in recomputed]}")
    again = {row.row_id: row for row in recomputed}
    for row in served:
        other = again.get(row.row_id)
        if other is not None and row.items != other.items:
            differences.append(_item_difference(row, other))
    return differences[:MAX_DIFFERENCES]


def _item_difference(row: ShownRow, other: ShownRow) -> str:
    if len(row.items) != len(other.items):
        return f"row {row.row_id} had {len(row.items)} titles, now {len(other.items)}"
    mine, theirs = next((a, b) for a, b in zip(row.items, other.items, strict=True) if a != b)
    return f"row {row.row_id}, title {mine.position + 1} was {_said(mine)}, now {_said(theirs)}"


def _said(item: ShownItem) -> str:
    return f"{item.item_id} (score {item.score!r}, propensity {item.propensity!r})"


def _not_replayable(impression: Impression, params: PageParams) -> str | None:
    if impression.origin_page_id is not None:
        return f"this page repeats {impression.origin_page_id} from the cache; look at that one"
    if impression.step == "precomputed":
        return "this page was computed in a batch; its inputs were not kept"
    if impression.page_version and impression.page_version != params.version:
        return f"pages of version {impression.page_version} are no longer made; this is {params.version}"
    if impression.title_snapshot is None or (impression.model_version is None and impression.step != "popular"):
        return "the impression names no title snapshot or no model"
    return None


def _popular_page(impression: Impression, sources: ReplaySources, params: PageParams) -> Page:
    snapshot = _snapshot(impression.title_snapshot or "", sources)
    return popular_page(sources.catalogue, snapshot, context_of(impression), params)


def _inputs(impression: Impression, sources: ReplaySources, params: PageParams) -> PageInputs:
    return PageInputs(
        state=_state(impression),
        catalogue=sources.catalogue,
        snapshot=_snapshot(impression.title_snapshot or "", sources),
        model=_model(impression.model_version or "", sources),
        context=context_of(impression),
        params=params,
    )


def _snapshot(address: str, sources: ReplaySources) -> TitleSnapshot:
    try:
        return sources.snapshot(address)
    except MarqueeError as error:
        raise FixRequest("title_snapshot", f"the title features of this page are no longer kept ({error})") from error


def _model(version: str, sources: ReplaySources) -> RankingModel:
    try:
        return sources.model(version)
    except MarqueeError as error:
        raise FixRequest("model_version", f"model {version[:12]} cannot be loaded any more ({error})") from error


def _state(impression: Impression) -> EntityState | None:
    """Return the member's state as read, None for a member that had none."""
    if impression.state is None:
        if impression.feature_position:
            raise FixRequest("state", "the impression was too large to carry the member's state")
        return None
    try:
        return MEMBER.unpack(impression.state)
    except MarqueeError as error:
        raise FixRequest("state", f"the member's state of then cannot be read now ({error})") from error
