"""Titles: similar ones, and given ones ranked for a member."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from serving.api.dependencies import NOT_FOUND, PROBLEMS, ServicesDep, check_id
from serving.api.member_states import read_state
from serving.problems import NotFound
from serving.ranking.model import RankingModel
from serving.services import Services
from streams.errors import TryAgain
from streams.events import MAX_ID_BYTES
from streams.features.member import MEMBER, history

router = APIRouter(tags=["titles"])

Id = Annotated[str, Field(min_length=1, max_length=MAX_ID_BYTES)]


class SimilarTitle(BaseModel):
    """A title and how similar it is; higher is more, comparable within one answer."""

    item_id: str
    title: str
    similarity: float


class Similar(BaseModel):
    """The titles most similar to one, best first; none for a title that the model has not learned yet."""

    item_id: str
    title: str
    model_version: str
    similar: list[SimilarTitle]


class RankRequest(BaseModel):
    """Candidates to rank for a member. A member without events is ranked as anybody."""

    model_config = {"json_schema_extra": {"examples": [{"member_id": "42", "items": ["1", "318", "2571"]}]}}

    member_id: Id
    items: Annotated[list[Id], Field(min_length=1, max_length=1_000)]


class RankedTitle(BaseModel):
    """A candidate's score and what it is the sum of. known: whether the model has learned the title."""

    item_id: str
    score: float
    known: bool
    parts: dict[str, float]


class Ranked(BaseModel):
    """The candidates, best first. unknown: those that are not in the catalogue."""

    member_id: str
    model_version: str
    feature_position: int
    ranked: list[RankedTitle]
    unknown: list[str]


@router.get("/v1/similar/{item_id}", summary="Similar titles", responses=PROBLEMS | NOT_FOUND)
def similar(item_id: str, services: ServicesDep, limit: Annotated[int, Query(ge=1, le=50)] = 20) -> Similar:
    """Return the titles that members who watch this one watch too."""
    title = services.catalogue.current.get(check_id("item_id", item_id))
    if title is None:
        raise NotFound("item_id", f"there is no title {item_id!r}")
    model, catalogue = _champion(services), services.catalogue.current
    found = [(catalogue[other], score) for other, score in model.similar(item_id, limit) if other in catalogue]
    return Similar(
        item_id=item_id,
        title=title.title,
        model_version=model.version,
        similar=[SimilarTitle(item_id=o.item_id, title=o.title, similarity=score) for o, score in found],
    )


@router.post("/v1/rank", summary="Rank given titles for a member", responses=PROBLEMS)
async def rank(asked: RankRequest, services: ServicesDep) -> Ranked:
    """Score candidates with the champion and the member's live state; the order is what a row of them would have."""
    model = _champion(services)
    value, _ = await read_state(services, check_id("member_id", asked.member_id))
    return await run_in_threadpool(_ranked, asked, services, model, value)


def _ranked(asked: RankRequest, services: Services, model: RankingModel, value: bytes | None) -> Ranked:
    snapshot, now_ms = services.titles.current, services.clock_ms()
    state = MEMBER.unpack(value) if value else MEMBER.initialize()
    vector = MEMBER.vector(state, model.member_features, now_ms)
    scores = model.score(history(state), vector, snapshot, now_ms)
    rows = {item_id: snapshot.order.rows.get(item_id) for item_id in dict.fromkeys(asked.items)}
    ranked = [
        RankedTitle(
            item_id=item_id, score=float(scores.score[row]), known=bool(scores.known[row]), parts=scores.parts_of(row)
        )
        for item_id, row in rows.items()
        if row is not None
    ]
    ranked.sort(key=lambda entry: (-entry.known, -entry.score, entry.item_id))
    return Ranked(
        member_id=asked.member_id,
        model_version=model.version,
        feature_position=state.position,
        ranked=ranked,
        unknown=[item_id for item_id, row in rows.items() if row is None],
    )


def _champion(services: Services) -> RankingModel:
    model = services.models.current
    if model is None:
        raise TryAgain(services.models.refusal or "no model serves yet: train one with `marquee train`", 5.0)
    return model
