"""What the routes ask for: the wired services, and ids checked before use."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import Depends, Request

from serving.services import Services
from streams.errors import FixRequest
from streams.events import MAX_ID_BYTES, is_valid_id


def _services(request: Request) -> Services:
    return cast("Services", request.app.state.services)


ServicesDep = Annotated[Services, Depends(_services)]

PROBLEMS: dict[int | str, dict[str, object]] = {
    code: {"description": text, "content": {"application/problem+json": {}}}
    for code, text in (
        (422, "The request is wrong: `field` and `fix` say where and how"),
        (503, "A store or model is away: retry after `Retry-After` seconds"),
    )
}
"""The problem responses that any route may give."""

NOT_FOUND: dict[int | str, dict[str, object]] = {
    404: {"description": "There is no such thing", "content": {"application/problem+json": {}}}
}


def check_id(field: str, value: str) -> str:
    """Return an id that may be looked up. Raises FixRequest naming the field."""
    if not is_valid_id(value):
        raise FixRequest(field, f"must have 1 to {MAX_ID_BYTES} bytes and no control characters")
    return value
