"""`POST /ofrep/v1/evaluate/flags…`: variants for apps, as any OpenFeature SDK asks for them (OFREP 0.3.0)."""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.responses import Response

from serving import metrics
from serving.api.dependencies import ServicesDep
from serving.api.events import read_body
from serving.experiments.app_exposures import evaluated_exposure
from serving.experiments.live import LiveView
from serving.experiments.ofrep import (
    MAX_BODY_BYTES,
    BadContext,
    Context,
    Evaluation,
    evaluate,
    flag,
    flags,
    parse_context,
)
from serving.problems import TooLarge
from serving.services import Services


class FlagConvertor(PathConvertor):
    """Any text, so that whatever a flag may be called, an SDK is answered as OFREP says."""

    regex = r"[\s\S]*"


register_url_convertor("flag", FlagConvertor())
router = APIRouter(tags=["flags"])

MAX_ETAGS: Final = 2_048
"""Characters of If-None-Match that are looked at."""

_EXAMPLE: Final = {"context": {"targetingKey": "42", "country": "NL", "device": "tv", "plan": "gold"}}
_FLAG: Final = {
    "key": "new-rows",
    "reason": "SPLIT",
    "variant": "treatment",
    "metadata": {"experiment": "new-rows", "revision": 3, "variant": "treatment"},
    "value": True,
}
_FAILURE: Final = {"key": "new-rows", "errorCode": "TARGETING_KEY_MISSING", "errorDetails": "targetingKey: …"}
_OPENAPI: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["context"],
                    "properties": {
                        "context": {
                            "type": "object",
                            "required": ["targetingKey"],
                            "properties": {"targetingKey": {"type": "string", "description": "The member's id"}},
                            "additionalProperties": True,
                        }
                    },
                },
                "example": _EXAMPLE,
            }
        },
    }
}


def _json(description: str, example: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"example": example}}}


_FAILURES: Final[dict[int | str, dict[str, Any]]] = {
    400: _json("The context is wrong: `errorCode` is PARSE_ERROR, TARGETING_KEY_MISSING or INVALID_CONTEXT", _FAILURE),
    413: _json(f"The body is over {MAX_BODY_BYTES} bytes", _FAILURE | {"errorCode": "GENERAL"}),
    503: _json("Experiments are not known yet: retry after `Retry-After` seconds", _FAILURE | {"errorCode": "GENERAL"}),
}


@router.post(
    "/ofrep/v1/evaluate/flags",
    summary="Evaluate all flags for a member",
    openapi_extra=_OPENAPI,
    responses=_FAILURES
    | {
        200: _json("The flags", {"flags": [_FLAG]}),
        304: {"description": "They are as they were with the entity tag in If-None-Match"},
    },
)
async def evaluate_all(request: Request, services: ServicesDep) -> Response:
    """Return what every experiment has for a member. What an app then uses of it, it says to `/v1/exposures`."""
    asked = await _asked(request, services, None)
    if isinstance(asked, Response):
        return asked
    view, context = asked
    body = msgspec.json.encode({"flags": evaluate(view, flags(view), context)})
    metrics.FLAGS_EVALUATED.labels("bulk").inc()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"etag": etag, "cache-control": "no-store"}
    if _is_known(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


@router.post(
    "/ofrep/v1/evaluate/flags/{key:flag}",
    summary="Evaluate a flag for a member",
    openapi_extra=_OPENAPI,
    responses=_FAILURES
    | {
        200: _json("The flag; without a `value` the default in the app's code stands", _FLAG),
        404: _json("There is no such flag", _FAILURE | {"errorCode": "FLAG_NOT_FOUND"}),
    },
)
async def evaluate_one(key: str, request: Request, services: ServicesDep) -> Response:
    """Return what an experiment has for a member, and log that they met it."""
    asked = await _asked(request, services, key)
    if isinstance(asked, Response):
        return asked
    view, context = asked
    experiment = flag(view, key)
    if experiment is None:
        return _failure(404, key, "FLAG_NOT_FOUND", f"there is no running experiment {key[:64]!r}")
    (evaluation,) = evaluate(view, [experiment], context)
    metrics.FLAGS_EVALUATED.labels("single").inc()
    _log(services, evaluation, context)
    return Response(
        msgspec.json.encode(evaluation), media_type="application/json", headers={"cache-control": "no-store"}
    )


async def _asked(request: Request, services: Services, key: str | None) -> tuple[LiveView, Context] | Response:
    """Return what is known and whom it is asked for, or why that cannot be answered."""
    try:
        context = parse_context(await read_body(request, MAX_BODY_BYTES))
    except BadContext as error:
        return _failure(400, key, error.code, str(error))
    except TooLarge as error:
        return _failure(413, key, "GENERAL", str(error))
    if not services.experiments.is_known:
        return _failure(
            503, key, "GENERAL", "experiments are not known yet: the database is away", ("retry-after", "1")
        )
    return services.experiments.view, context


def _log(services: Services, evaluation: Evaluation, context: Context) -> None:
    """Log an exposure to a variant that was drawn or forced; what there is no room for is counted there."""
    if evaluation.reason in ("SPLIT", "TARGETING_MATCH"):
        forced = evaluation.reason == "TARGETING_MATCH"
        services.exposures.put(
            evaluated_exposure(evaluation.key, evaluation.variant, *context, services.clock_ms(), forced=forced)
        )


def _failure(status: int, key: str | None, code: str, details: str, *headers: tuple[str, str]) -> Response:
    members = {} if key is None else {"key": key}
    body = msgspec.json.encode({**members, "errorCode": code, "errorDetails": details})
    return Response(body, status, dict(headers), media_type="application/json")


def _is_known(if_none_match: str, etag: str) -> bool:
    """Return whether a tag is among those of If-None-Match, compared weakly (RFC 9110, section 8.8.3.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match[:MAX_ETAGS].split(",")]
    return etag in tags or "*" in tags
