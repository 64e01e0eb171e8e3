"""`POST /v1/events`: member events in, one or a batch. What is accepted is in the log, durably, by the answer."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from serving.api.dependencies import ServicesDep
from serving.problems import TooLarge, problem
from streams.catalogue import Catalogue
from streams.errors import Undeliverable
from streams.events import EVENT_TYPES, MAX_AHEAD_MS, Event, decode_event

router = APIRouter(tags=["events"])

_PATH: Final = re.compile(r"`\$\.(\w+)")
_MISSING: Final = re.compile(r"required field `(\w+)`")
"""How decoding errors name the field that is wrong, or missing."""

_batch_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_one_decoder = msgspec.json.Decoder(msgspec.Raw)

MAX_BODY_BYTES: Final = 1 << 20
MAX_EVENTS: Final = 1_000
"""A request; both bounds keep one caller from filling the ingest queue."""

_EXAMPLE = {
    "event_id": "01JD3Z7G8V-1",
    "type": "play",
    "member_id": "42",
    "item_id": "318",
    "event_time_ms": 1_760_000_000_000,
    "page_id": "01jd3z7g8v0000000000000000",
    "row_id": "top_picks",
    "position": 2,
    "context": {"country": "NL", "device": "tv"},
}

_SCHEMA: dict[str, Any] = msgspec.json.schema(Event)["$defs"]["Event"]

_OPENAPI: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "oneOf": [
                        _SCHEMA,
                        {
                            "type": "array",
                            "items": _SCHEMA,
                            "maxItems": MAX_EVENTS,
                        },
                    ]
                },
                "examples": {
                    "one": {"summary": "One event", "value": _EXAMPLE},
                    "batch": {"summary": "A batch", "value": [_EXAMPLE]},
                },
            }
        },
    }
}

_ACCEPTED: dict[str, Any] = {
    "description": "At least one event is in the log; `results` are in the order of the events.",
    "content": {
        "application/json": {
            "example": {
                "accepted": 1,
                "rejected": 0,
                "results": [{"event_id": "01JD3Z7G8V-1", "status": "accepted", "partition": 3, "offset": 1041}],
            }
        }
    },
}


class Result(msgspec.Struct, omit_defaults=True):
    """What became of one event: accepted, with its place in the log, or rejected, with the reason and the fix."""

    event_id: str | None
    status: str
    partition: int | None = None
    offset: int | None = None
    reason: str | None = None
    field: str | None = None
    fix: str | None = None


@router.post(
    "/v1/events",
    status_code=202,
    summary="Send member events",
    openapi_extra=_OPENAPI,
    responses={
        202: _ACCEPTED,
        400: {"description": "The body is not JSON", "content": {"application/problem+json": {}}},
        413: {"description": "The body is too large", "content": {"application/problem+json": {}}},
        422: {"description": "No event could be accepted", "content": {"application/problem+json": {}}},
        429: {"description": "Too many events at once: slow down", "content": {"application/problem+json": {}}},
        503: {"description": "The log is away: retry", "content": {"application/problem+json": {}}},
    },
)
async def post_events(request: Request, services: ServicesDep) -> Response:
    """Accept one event (an object) or up to 1,000 (an array). Send a retry with the same `event_id`: it counts once."""
    body = await read_body(request, MAX_BODY_BYTES)
    raws = _split(body)
    if isinstance(raws, Response):
        return raws
    catalogue, now_ms = services.catalogue.current, services.clock_ms()
    checked = [_check(raw, catalogue, now_ms) for raw in raws]
    events = [outcome for outcome in checked if isinstance(outcome, Event)]
    places = iter(await services.ingest.submit(events) if events else [])
    results = [_accepted(outcome, next(places)) if isinstance(outcome, Event) else outcome for outcome in checked]
    rejected = len(results) - len(events)
    if not events:
        first = results[0]
        detail = f"no event was accepted; the first: {first.fix}"
        return problem(422, detail, field=first.field, fix=first.fix, results=msgspec.to_builtins(results))
    answer = {"accepted": len(events), "rejected": rejected, "results": results}
    return Response(msgspec.json.encode(answer), 202, media_type="application/json")


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Return the request's body. Raises TooLarge as soon as it is over `max_bytes`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge("body", f"send at most {max_bytes} bytes a request")
    return bytes(body)


def _split(body: bytes) -> list[msgspec.Raw] | Response:
    """Return the raw events of a body that is one object or an array; a problem response otherwise."""
    try:
        is_batch = body.lstrip()[:1] == b"["
        raws = _batch_decoder.decode(body) if is_batch else [_one_decoder.decode(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return problem(400, f"body is not JSON: {error}", field="body", fix="send one JSON object or an array of them")
    if not 1 <= len(raws) <= MAX_EVENTS:
        return problem(422, f"{len(raws)} events", field="body", fix=f"send 1 to {MAX_EVENTS} events a request")
    return raws


def _check(raw: msgspec.Raw, catalogue: Catalogue, now_ms: int) -> Event | Result:
    """Return the event, or why it is rejected."""
    try:
        event = decode_event(bytes(raw))
    except Undeliverable as error:
        return _rejected(_event_id(raw), error.reason, _field_in(error.detail), error.detail)
    if event.event_time_ms > now_ms + MAX_AHEAD_MS:
        return _rejected(event.event_id, "bad-time", "event_time_ms", "event_time_ms is over a day ahead of now")
    if event.item_id and not _is_live(catalogue, event.item_id, now_ms):
        return _rejected(event.event_id, "unknown-title", "item_id", f"publish title {event.item_id!r} first")
    return event


def _rejected(event_id: str | None, reason: str, field: str, fix: str) -> Result:
    if field == "type":
        fix = f"{fix}: use one of {', '.join(EVENT_TYPES)}"
    return Result(event_id, "rejected", reason=reason, field=field, fix=fix)


def _field_in(detail: str) -> str:
    """Return the field that the reason of a refusal speaks of, "event" if it is the whole of it."""
    named = _PATH.search(detail) or _MISSING.search(detail)
    field = named[1] if named else detail.split(maxsplit=1)[0]
    return field if field in Event.__struct_fields__ else "event"


def _is_live(catalogue: Catalogue, item_id: str, now_ms: int) -> bool:
    title = catalogue.get(item_id)
    return title is not None and title.live_from_ms <= now_ms


def _event_id(raw: msgspec.Raw) -> str | None:
    """Return the event id of a rejected event where it can be told, so that its sender can."""
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    event_id = found.get("event_id") if isinstance(found, dict) else None
    return event_id[:128] if isinstance(event_id, str) else None


def _accepted(event: Event, place: Any) -> Result:
    return Result(event.event_id, "accepted", partition=place.partition, offset=place.offset)
