"""Members: who there is, and each one's live features."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from serving.api.dependencies import NOT_FOUND, PROBLEMS, ServicesDep, check_id
from serving.api.member_states import read_state
from serving.problems import NotFound
from streams.features.member import MEMBER
from streams.features.seen_titles import SeenTitles
from streams.positions import unpack_position

router = APIRouter(tags=["members"])


class Features(BaseModel):
    """A member's features now. position: the log position that they include; age_ms: since the newest event's time."""

    member_id: str
    view: str
    version: str
    source: str
    position: int
    epoch: int
    offset: int
    newest_event_time_ms: int
    age_ms: int
    features: dict[str, Any]


class Members(BaseModel):
    """Ids of members, the most recently seen first."""

    members: list[str]


@router.get("/v1/members", summary="Members seen lately", responses=PROBLEMS)
def list_members(services: ServicesDep, limit: Annotated[int, Query(ge=1, le=1_000)] = 50) -> Members:
    """Return ids of members who have events."""
    return Members(members=services.durable.member_ids(limit))


@router.get("/v1/members/{member_id}/features", summary="A member's live features", responses=PROBLEMS | NOT_FOUND)
async def member_features(member_id: str, services: ServicesDep) -> Features:
    """Return every feature's value now, as the model sees it, with the log position and age of the state."""
    value, source = await read_state(services, check_id("member_id", member_id))
    if value is None:
        raise NotFound("member_id", f"no events of member {member_id!r} are known; send some to /v1/events first")
    return await run_in_threadpool(_features, member_id, value, source, services.clock_ms())


def _features(member_id: str, value: bytes, source: str, now_ms: int) -> Features:
    state = MEMBER.unpack(value)
    epoch, offset = unpack_position(state.position)
    return Features(
        member_id=member_id,
        view=MEMBER.name,
        version=f"{MEMBER.fingerprint:08x}",
        source=source,
        position=state.position,
        epoch=epoch,
        offset=offset,
        newest_event_time_ms=state.watermark_ms,
        age_ms=max(0, now_ms - state.watermark_ms),
        features={name: _presentable(value) for name, value in MEMBER.result(state, now_ms).items()},
    )


def _presentable(value: float | list[Any]) -> Any:
    """Return a feature's value as JSON can say it: entries by field name; of what is kept as hashes, the number."""
    if not isinstance(value, list):
        return value
    if len(value) == 1 and isinstance(value[0], SeenTitles):
        return len(value[0])
    if value and isinstance(value[0], bytes):
        return len(value)
    return [entry._asdict() if hasattr(entry, "_asdict") else entry for entry in value]
