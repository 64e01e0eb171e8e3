"""`GET /v1/pages/{page_id}`: a page as served, computed again beside it, and why a title is or is not there."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query
from starlette.responses import Response

from serving.api.dependencies import NOT_FOUND, PROBLEMS, ServicesDep, check_id
from serving.models.loader import load_model
from serving.pages.explain import Explanation, explain_item
from serving.pages.page import Row
from serving.pages.replay import Recomputed, ReplaySources, recompute
from serving.problems import NotFound
from serving.ranking.model import RankingModel
from serving.services import Services
from streams.events import MAX_ID_BYTES
from streams.impressions import Impression

router = APIRouter(tags=["pages"])

MAX_PAGE_ID: Final = 64
_EXAMPLE: Final = {
    "page_id": "01jd3z7g8v0000000000000000",
    "as_served": {
        "step": "fresh",
        "member_id": "42",
        "rows": [{"row_id": "top_picks", "items": [["318", 0, 1.9, 1.0]]}],
    },
    "recomputed": {
        "equal": True,
        "problem": None,
        "differences": [],
        "rows": [{"row_id": "top_picks", "items": ["…"]}],
    },
    "explanation": {"item_id": "318", "status": "shown", "sentence": "…", "parts": {"history": 1.2, "popularity": 0.7}},
}


class RecomputedPage(msgspec.Struct):
    """The page computed again from what its impression names. equal: bit for bit what was served; problem: why it
    cannot be computed any more; differences: the first few."""

    equal: bool
    problem: str | None
    differences: list[str]
    rows: list[Row]


class ServedPage(msgspec.Struct, omit_defaults=True):
    """The answer. origin_page_id: the page that this one repeated from the cache, which is the one shown."""

    page_id: str
    as_served: Impression
    recomputed: RecomputedPage
    origin_page_id: str | None = None
    explanation: Explanation | None = None


@router.get(
    "/v1/pages/{page_id}",
    summary="A served page, replayed and explained",
    responses=PROBLEMS
    | NOT_FOUND
    | {200: {"description": "The page", "content": {"application/json": {"example": _EXAMPLE}}}},
    response_class=Response,
)
def get_page(
    page_id: str,
    services: ServicesDep,
    item_id: Annotated[
        str | None, Query(description="Say why this title is, or is not, on the page", max_length=MAX_ID_BYTES)
    ] = None,
) -> Response:
    """Return what was served and the same page computed anew from the recorded state, titles and model."""
    served = _impression(services, page_id)
    shown = _impression(services, served.origin_page_id) if served.origin_page_id else served
    again = recompute(shown, _sources(services))
    explanation = None
    if item_id is not None:
        explanation = _explain(again, check_id("item_id", item_id))
    answer = ServedPage(page_id, shown, _recomputed(again), served.origin_page_id, explanation)
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _impression(services: Services, page_id: str) -> Impression:
    found = services.impressions.find(page_id) if 0 < len(page_id) <= MAX_PAGE_ID else None
    if found is None:
        raise NotFound("page_id", f"page {page_id[:MAX_PAGE_ID]!r} was not served, or is no longer in the log")
    return found


def _sources(services: Services) -> ReplaySources:
    def model(version: str) -> RankingModel:
        serving = next((m for m in services.models.models.values() if m.version == version), None)
        return serving or load_model(services.blobs, version)

    return ReplaySources(services.catalogue.current, services.snapshots.load, model, services.page_params)


def _recomputed(again: Recomputed) -> RecomputedPage:
    rows = again.page.rows if again.page else []
    return RecomputedPage(again.equal, again.problem, list(again.differences), rows)


def _explain(again: Recomputed, item_id: str) -> Any:
    """Return the explanation. Raises NotFound where the page's inputs are not there to explain it by."""
    if again.page is None or again.inputs is None:
        raise NotFound("item_id", f"this page cannot be explained: {again.problem or 'it was a popular page'}")
    return explain_item(again.inputs, again.page, item_id)
