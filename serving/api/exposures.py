"""`POST /v1/exposures`: apps say which members met which variants, where they had them from a bulk evaluation."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.api.dependencies import PROBLEMS, ServicesDep
from serving.api.events import read_body
from serving.api.json_schema import schema_of
from serving.experiments.app_exposures import AppExposure, exposure_of
from serving.problems import problem
from streams.errors import FixRequest, SlowDown, TryAgain

router = APIRouter(tags=["flags"])

MAX_BODY_BYTES: Final = 256 << 10
MAX_EXPOSURES: Final = 1_000

_one = msgspec.json.Decoder(AppExposure)
_many = msgspec.json.Decoder(list[AppExposure])

_EXAMPLE: Final = {"experiment": "new-rows", "variant": "treatment", "member_id": "42", "device": "tv"}
_SCHEMA: Final = schema_of(AppExposure)
_OPENAPI: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [_SCHEMA, {"type": "array", "items": _SCHEMA, "maxItems": MAX_EXPOSURES}]},
                "example": _EXAMPLE,
            }
        },
    }
}


@router.post(
    "/v1/exposures",
    status_code=202,
    summary="Say that members met variants",
    openapi_extra=_OPENAPI,
    responses=PROBLEMS
    | {
        202: {"description": "They are logged", "content": {"application/json": {"example": {"accepted": 1}}}},
        400: {"description": "The body is not JSON", "content": {"application/problem+json": {}}},
        413: {"description": "The body is too large", "content": {"application/problem+json": {}}},
        429: {"description": "Too many at once: slow down", "content": {"application/problem+json": {}}},
    },
)
async def post_exposures(request: Request, services: ServicesDep) -> Response:
    """Log one exposure (an object) or up to 1,000 (an array): all, or none of them if one is wrong.

    An app that evaluates flags one by one need not call it. Send it again if in doubt: what was said within the hour is
    not said twice.
    """
    body = await read_body(request, MAX_BODY_BYTES)
    is_batch = body.lstrip()[:1] == b"["
    try:
        said = _many.decode(body) if is_batch else [_one.decode(body)]
    except msgspec.ValidationError as error:
        raise FixRequest("body", str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return problem(400, f"body is not JSON: {error}", field="body", fix="send one JSON object or an array of them")
    if len(said) > MAX_EXPOSURES:
        raise FixRequest("body", f"send at most {MAX_EXPOSURES} exposures a request")
    if not services.experiments.is_known:
        raise TryAgain("experiments are not known yet: the database is away")
    view, now_ms = services.experiments.view, services.clock_ms()
    exposures = []
    for index, one in enumerate(said):
        try:
            exposures.append(exposure_of(one, view, now_ms))
        except FixRequest as error:
            raise FixRequest(f"[{index}].{error.field}" if is_batch else error.field, error.fix) from None
    if not all(services.exposures.put(exposure) for exposure in exposures):
        raise SlowDown("more exposures wait to be written than there is room for")
    return Response(msgspec.json.encode({"accepted": len(exposures)}), 202, media_type="application/json")
