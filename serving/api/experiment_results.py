"""`/v1/experiments/…`: how long a test takes, what its results are, what they were, and who was exposed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from serving.api.dependencies import NOT_FOUND, PROBLEMS, ServicesDep
from serving.api.experiments import MAX_ID, TOO_LARGE, Body, Store, searchable
from serving.api.json_schema import json_body
from serving.api.keys import KEY_PROBLEMS, Viewer
from serving.experiments.baselines import check_reckonable
from serving.experiments.decoding import decode_json
from serving.experiments.design import Baseline, design
from serving.experiments.looks import read_looks
from serving.experiments.presentation import in_full
from streams.experiments.aggregates import ALL, Aggregate, Sums
from streams.experiments.definition import Definition, Experiment
from streams.experiments.outcome_store import read_aggregates

router = APIRouter(tags=["experiments"])

READS = PROBLEMS | KEY_PROBLEMS | NOT_FOUND


def _experiment(experiment_id: str, store: Store, _actor: Viewer) -> Experiment:
    return store.read(searchable("id", experiment_id))


Found = Annotated[Experiment, Depends(_experiment)]


def _given(
    mean: Annotated[float | None, Query(ge=-1e12, le=1e12, description="Of the primary metric")] = None,
    variance: Annotated[float | None, Query(gt=0, le=1e24, description="Of one member's number")] = None,
    members_a_day: Annotated[float | None, Query(gt=0, le=1e10, description="Who come for the first time")] = None,
    correlation: Annotated[float | None, Query(gt=-1, lt=1, description="With the time before, for CUPED")] = None,
) -> dict[str, float | None]:
    return {"mean": mean, "variance": variance, "members_a_day": members_a_day, "correlation": correlation}


Given = Annotated[dict[str, float | None], Depends(_given)]


class ExposedDay(msgspec.Struct, frozen=True):
    """Members of a variant by the day (since 1970-01-01 UTC) of their first exposure; degraded: those on a page below
    the top of the ladder; crossed: others, who do not count because they saw another variant, too."""

    day: int
    variant: str
    members: int
    degraded: int
    crossed: int


@router.post(
    "/v1/experiments/design",
    summary="How long a test takes",
    openapi_extra=json_body(Definition),
    responses=PROBLEMS | KEY_PROBLEMS | TOO_LARGE,
    response_class=Response,
)
def plan_duration(body: Body, services: ServicesDep, given: Given, _actor: Viewer) -> Response:
    """Return how many members and days the declared effect takes, and the power by days, from the primary metric's own
    past on this platform; nothing is kept. What is given in the query takes the place of what the past says."""
    definition = decode_json(body, Definition)
    check_reckonable(definition)
    known = {name: value for name, value in given.items() if value is not None}
    if {"mean", "variance", "members_a_day"} <= known.keys():
        baseline = Baseline(**known)
    else:
        baseline = msgspec.structs.replace(services.baselines.of(definition, services.clock_ms()), **known)
    return _json(design(definition, baseline))


@router.get(
    "/v1/experiments/{experiment_id}/results",
    summary="An experiment's results",
    responses=READS,
    response_class=Response,
)
def results(experiment: Found, services: ServicesDep) -> Response:
    """Return the report as of a moment ago, and what the definition's rules make of it; no planned look is taken."""
    standing = services.standings.stand(experiment, services.clock_ms())
    return _json({"report": standing.report, "decision": standing.decision})


@router.get(
    "/v1/experiments/{experiment_id}/results/history",
    summary="An experiment's results over time",
    responses=READS,
    response_class=Response,
)
def history(
    experiment: Found,
    services: ServicesDep,
    metric: Annotated[str | None, Query(max_length=MAX_ID, description="Effects on this metric alone")] = None,
) -> Response:
    """Return the looks that were kept, oldest first: one a minute at first, fewer as they grow old."""
    looks = read_looks(services.sql, experiment.definition.id)
    if metric is not None:
        looks = [
            msgspec.structs.replace(look, effects=tuple(each for each in look.effects if each.metric == metric))
            for look in looks
        ]
    return _json({"looks": looks})


@router.get(
    "/v1/experiments/{experiment_id}/exposures",
    summary="Members by variant and day",
    responses=READS,
    response_class=Response,
)
def exposures(experiment: Found, services: ServicesDep) -> Response:
    """Return how many members were first exposed on each day, whatever the plan makes of degraded pages."""
    aggregates, data_ms = read_aggregates(services.sql, experiment.definition.id, with_segments=False)
    return _json({"days": exposed_days(aggregates), "data_ms": data_ms})


def exposed_days(aggregates: Iterable[Aggregate]) -> list[ExposedDay]:
    """Return members by day and variant, in order."""
    found: dict[tuple[int, str], dict[str, Sums]] = defaultdict(dict)
    for cell, sums in aggregates:
        if cell.segment == ALL:
            found[cell.day, cell.variant][cell.stratum] = sums
    return [
        ExposedDay(
            day,
            variant,
            sum(sums.members for sums in strata.values()),
            strata.get("degraded", Sums()).members,
            sum(sums.crossed for sums in strata.values()),
        )
        for (day, variant), strata in sorted(found.items())
    ]


def _json(content: Any) -> Response:
    return Response(msgspec.json.encode(in_full(content)), media_type="application/json")
