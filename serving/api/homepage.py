"""`/homepage` in the API description. The front answers it before FastAPI; this route is the same service behind it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from serving.api.dependencies import ServicesDep
from streams.events import MAX_ID_BYTES

router = APIRouter(tags=["homepage"])

_EXAMPLE: Final[dict[str, Any]] = {
    "served": {
        "page_id": "0199a1b2c3d45f6e7d8c9b00001f0003",
        "step": "stale",
        "cache": "hit",
        "degraded": "hot store unavailable (hot cannot be opened); durable store unavailable (no answer within 50 ms)",
        "cache_age_ms": 5120,
        "feature_position": 281474976711697,
        "feature_age_ms": 84211,
        "model_version": "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
        "variants": {},
    },
    "member_id": "42",
    "rows": [
        {
            "row_id": "top_picks",
            "kind": "top_picks",
            "title": "Top picks for you",
            "reason": "What you are most likely to watch next",
            "value": 3.1,
            "items": [
                {
                    "item_id": "318",
                    "title": "The Shawshank Redemption",
                    "year": 1994,
                    "genres": ["Crime", "Drama"],
                    "score": 4.2,
                    "propensity": 1.0,
                    "reason": "Because you watched The Godfather",
                }
            ],
        }
    ],
}

_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The page. `served.step` is its step of the ladder (fresh, stale, precomputed, popular), and "
        "`served.degraded` says what was away or failed, null when nothing was.",
        "content": {"application/json": {"example": _EXAMPLE}},
    },
    400: {
        "description": "A parameter is wrong: `field` and `fix` say where and how",
        "content": {"application/problem+json": {}},
    },
    405: {"description": "Only GET and HEAD are allowed", "content": {"application/problem+json": {}}},
}


@router.get("/homepage", summary="A member's homepage", responses=_RESPONSES)
async def get_homepage(
    request: Request,
    services: ServicesDep,
    member_id: Annotated[
        str, Query(min_length=1, max_length=MAX_ID_BYTES, description="Of the member", examples=["42"])
    ],
    country: Annotated[
        str, Query(pattern="^([A-Za-z]{2})?$", description="ISO 3166, two letters", examples=["NL"])
    ] = "",
    device: Annotated[str, Query(pattern="^[A-Za-z0-9_-]{0,32}$", description="Such as tv", examples=["tv"])] = "",
) -> Response:
    """Return rows of ranked titles for a member, each with its reason.

    A store, model or log that is away makes the page a lesser one, never an error."""
    asked = services.requests.parse(request.scope["query_string"])
    body = services.homepage.hit(asked, services.clock_ms()) or await services.homepage.serve(asked)
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})
