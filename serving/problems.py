"""Problem details (RFC 9457): every error an HTTP caller sees, in one shape.

`detail` says what is wrong, `fix` what to do about it, `field` where. What to do decides the status: fix the request
(4xx), slow down (429, Retry-After), try again later (503, Retry-After).
"""

from __future__ import annotations

import math
from typing import Any, Final

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from serving.experiments.refusals import Conflict, Forbidden, Invalid, Unauthorized, UnknownExperiment
from streams.errors import Corrupt, FixRequest, SlowDown, TryAgain

MEDIA_TYPE = "application/problem+json"

_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    410: "Gone",
    413: "Content too large",
    415: "Unsupported media type",
    422: "Invalid request",
    429: "Slow down",
    500: "Internal error",
    503: "Try again later",
}


class NotFound(FixRequest):
    """The named thing is not there; answered with 404."""


class Gone(FixRequest):
    """The named thing was there and is no longer kept; answered with 410."""


class TooLarge(FixRequest):
    """The body is over its bound; answered with 413."""


_STATUSES: Final[dict[type[Exception], int]] = {
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    UnknownExperiment: 404,
    Conflict: 409,
    Gone: 410,
    TooLarge: 413,
}


def problem(status: int, detail: str, *, headers: dict[str, str] | None = None, **members: Any) -> Response:
    """Return a problem details response; `members` (field, fix, errors, …) are added to the object."""
    body = {"type": "about:blank", "title": _TITLES.get(status, "Error"), "status": status, "detail": detail, **members}
    return Response(msgspec.json.encode(body), status, headers, MEDIA_TYPE)


def add_problem_handlers(app: FastAPI) -> None:
    """Answer every error that leaves a route with problem details."""
    app.add_exception_handler(FixRequest, _fix_request)
    app.add_exception_handler(SlowDown, _retry)
    app.add_exception_handler(TryAgain, _retry)
    app.add_exception_handler(Corrupt, _corrupt)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _surprise)


def _fix_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, FixRequest)
    status = _STATUSES.get(type(error), 422)
    headers = {"www-authenticate": "Bearer"} if status == 401 else None
    members = {"errors": error.problems} if isinstance(error, Invalid) else {}
    return problem(status, str(error), headers=headers, field=error.field, fix=error.fix, **members)


def _retry(_request: Request, error: Exception) -> Response:
    assert isinstance(error, (SlowDown, TryAgain))
    status = 429 if isinstance(error, SlowDown) else 503
    wait_s = max(1, math.ceil(error.retry_after_s))
    return problem(status, str(error), headers={"retry-after": str(wait_s)}, fix=f"retry after {wait_s} s")


def _corrupt(_request: Request, error: Exception) -> Response:
    return problem(503, str(error), headers={"retry-after": "5"}, fix="an operator must restore or rebuild it")


def _validation(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = [{"field": ".".join(str(part) for part in e["loc"][1:]), "fix": e["msg"]} for e in error.errors()[:20]]
    first = errors[0] if errors else {"field": "", "fix": "see the API description"}
    return problem(422, f"{first['field']}: {first['fix']}", field=first["field"], fix=first["fix"], errors=errors)


def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))


def _surprise(_request: Request, _error: Exception) -> Response:
    """A defect of ours: the caller learns nothing of its insides, the log has the traceback."""
    return problem(500, "the server failed on this request; its log says why")
