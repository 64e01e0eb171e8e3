"""Health: alive, ready, and what is away; and the metrics for Prometheus."""

from __future__ import annotations

import asyncio

import prometheus_client
from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from serving.api.dependencies import ServicesDep

router = APIRouter(tags=["operations"])


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


class Readiness(BaseModel):
    """Whether fresh personalised pages can be served now; `problems` names each part that is away, and why."""

    ready: bool
    titles: int
    model_version: str | None
    problems: dict[str, str]


@router.get("/healthz", summary="Is the process alive")
async def healthz() -> Health:
    """Answer as long as the process does; restart it when this fails. It needs no thread: those may all be waiting."""
    return Health()


@router.get("/readyz", summary="Can it serve fresh pages", responses={503: {"model": Readiness}})
def readyz(services: ServicesDep, response: Response) -> Readiness:
    """503 while something is away. `/homepage` answers 200 all the same, on a lower step of the ladder."""
    problems = services.problems()
    champion = services.models.current
    response.status_code = 503 if problems else 200
    return Readiness(
        ready=not problems,
        titles=len(services.catalogue.current),
        model_version=champion.version if champion else None,
        problems=problems,
    )


@router.get("/metrics", summary="Metrics for Prometheus", response_class=Response)
async def metrics() -> Response:
    """Counters and histograms in Prometheus's text format."""
    # In the loop's own threads: those of the routes may all be waiting for an engine.
    text = await asyncio.to_thread(prometheus_client.generate_latest)
    return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)
