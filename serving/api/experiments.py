"""`/v1/experiments`: definitions and their life cycle. Whoever changes one says, by its revision, what they saw."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response

from serving.api.dependencies import NOT_FOUND, PROBLEMS, ServicesDep
from serving.api.events import read_body
from serving.api.json_schema import json_body
from serving.api.keys import KEY_PROBLEMS, Approver, Editor, Viewer
from serving.experiments.audit import Entry, read_audit
from serving.experiments.decision import decided
from serving.experiments.decoding import decode_json
from serving.experiments.lifecycle import (
    Action,
    Archive,
    Decide,
    Edit,
    Override,
    Ramp,
    Ship,
    Start,
    Stop,
    Undo,
    check_allowed,
)
from serving.experiments.presentation import in_full, presented
from serving.experiments.refusals import Invalid, Problem
from serving.experiments.roles import Actor
from serving.experiments.standing import Standings
from serving.experiments.store import ExperimentStore
from serving.models.loader import load_model
from streams.errors import FixRequest
from streams.experiments.definition import Definition, Experiment, Status, Verdict

router = APIRouter(tags=["experiments"])

MAX_BODY_BYTES: Final = 256 << 10
"""A hundred times a usual definition; every serving process reads all that run."""

MAX_ID: Final = 64
_REVISION: Final = re.compile(r'(?:W/)?"?([0-9]{1,9})"?')
_chance: Final = random.SystemRandom()

AskedT = TypeVar("AskedT", bound=msgspec.Struct)
RouteT = TypeVar("RouteT", bound=Callable[..., Response])

CONFLICT: Final[dict[int | str, dict[str, object]]] = {
    409: {"description": "It is not as it was read, or not ready for this", "content": {"application/problem+json": {}}}
}
TOO_LARGE: Final[dict[int | str, dict[str, object]]] = {
    413: {"description": "The body is too large", "content": {"application/problem+json": {}}}
}
CHANGES: Final = PROBLEMS | KEY_PROBLEMS | NOT_FOUND | CONFLICT | TOO_LARGE


class Started(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """revision: the one that was read; without it (or If-Match) the action is taken whatever has happened since."""

    revision: int | None = None


class Ramped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """traffic: the share of the layer's members who are to take part."""

    traffic: float
    revision: int | None = None


class Reasoned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """reason: why; it is kept in the audit trail."""

    reason: str
    revision: int | None = None


class Decided(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """verdict: what is decided; without it, what the rules of the definition say. reason: why; it must be given where
    the verdict is not theirs."""

    verdict: Verdict | None = None
    reason: str = ""
    revision: int | None = None


class Shipping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """variant: the one whose patch becomes the default; without it the one that the rules found best or, of two, the
    one that is not the control. override: what stands against it and is to be overridden, as a 409 says (`variant`: the
    rules found another one best; `champion`: another model was promoted since the start)."""

    reason: str
    variant: str | None = None
    override: tuple[Override, ...] = ()
    revision: int | None = None


class Listed(msgspec.Struct, frozen=True):
    """One page of experiments. next: what to send as `after` for the page behind it, None on the last."""

    experiments: list[dict[str, Any]]
    next: str | None


class Trail(msgspec.Struct, frozen=True):
    """One page of an audit trail. next: what to send as `after` for the page behind it, None on the last."""

    entries: list[Entry]
    next: int | None


class Validity(msgspec.Struct, frozen=True):
    """What is wrong with a definition: nothing, if it is valid."""

    valid: bool
    errors: tuple[Problem, ...] = ()


async def _body(request: Request) -> bytes:
    return await read_body(request, MAX_BODY_BYTES)


def _store(services: ServicesDep) -> ExperimentStore:
    return ExperimentStore(services.sql, partial(load_model, services.blobs))


Body = Annotated[bytes, Depends(_body)]
Store = Annotated[ExperimentStore, Depends(_store)]
IfMatch = Annotated[str | None, Header(description="The revision that was read (ETag)")]


class _Change:
    """A request to change one experiment."""

    def __init__(
        self, experiment_id: str, body: Body, services: ServicesDep, store: Store, if_match: IfMatch = None
    ) -> None:
        self.id = searchable("id", experiment_id)
        self.body = body
        self.if_match = if_match
        self.store = store
        self._services = services

    def asked(self, type_: type[AskedT]) -> AskedT:
        """Return the body. One that is empty leaves all to defaults, where there are such."""
        return decode_json(self.body or b"{}", type_)

    def take(self, action: Action, actor: Actor, revision: int | None = None) -> Response:
        """Take the action and answer with the experiment after it. revision: of the body, where no header has one.

        `If-Match: *` asks no more than that there be such an experiment, as RFC 9110 has it.
        """
        expected = revision if self.if_match in (None, "*") else _revision(str(self.if_match))
        after = self.store.act(self.id, action, actor, self._services.clock_ms(), _chance, expected=expected)
        return _answer(after)


Change = Annotated[_Change, Depends()]


def _action(
    name: str, summary: str, body: type[msgspec.Struct], *, required: bool = True
) -> Callable[[RouteT], RouteT]:
    """Route an action on an experiment. required: whether it wants a body."""
    return router.post(
        f"/v1/experiments/{{experiment_id}}/{name}",
        summary=summary,
        openapi_extra=json_body(body, required=required),
        responses=CHANGES,
        response_class=Response,
    )


@router.post(
    "/v1/experiments",
    status_code=201,
    summary="Draft an experiment",
    openapi_extra=json_body(Definition),
    responses=PROBLEMS | KEY_PROBLEMS | CONFLICT | TOO_LARGE,
    response_class=Response,
)
def create(body: Body, services: ServicesDep, store: Store, actor: Editor) -> Response:
    """Add a draft. Every problem of the definition is in `errors`, each with its place and the fix."""
    created = store.create(decode_json(body, Definition), actor, services.clock_ms())
    answer = _answer(created, 201)
    answer.headers["location"] = f"/v1/experiments/{created.definition.id}"
    return answer


@router.post(
    "/v1/experiments/validate",
    summary="Check a definition",
    openapi_extra=json_body(Definition),
    responses=PROBLEMS | KEY_PROBLEMS | TOO_LARGE,
    response_class=Response,
)
def validate(body: Body, store: Store, _actor: Viewer) -> Response:
    """Say all that is wrong with a definition, and keep nothing."""
    try:
        store.check(decode_json(body, Definition))
    except Invalid as error:
        return _json(Validity(False, error.problems))
    except FixRequest as error:
        return _json(Validity(False, (Problem(error.field, error.fix),)))
    return _json(Validity(True))


@router.get("/v1/experiments", summary="List experiments", responses=PROBLEMS | KEY_PROBLEMS, response_class=Response)
def list_experiments(
    store: Store,
    _actor: Viewer,
    status: Annotated[list[Status] | None, Query(description="Only those of these statuses")] = None,
    after: Annotated[str, Query(max_length=MAX_ID, description="`next` of the page before")] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Response:
    """Return experiments by id."""
    found = store.listed(status or (), after=searchable("after", after), limit=limit)
    following = found[-1].definition.id if len(found) == limit else None
    return _json(Listed([presented(experiment) for experiment in found], following))


@router.get(
    "/v1/experiments/{experiment_id}",
    summary="An experiment",
    responses=PROBLEMS | KEY_PROBLEMS | NOT_FOUND,
    response_class=Response,
)
def get_experiment(experiment_id: str, store: Store, _actor: Viewer) -> Response:
    """Return one experiment; its ETag is its revision."""
    return _answer(store.read(searchable("id", experiment_id)))


@router.put(
    "/v1/experiments/{experiment_id}",
    summary="Edit an experiment",
    openapi_extra=json_body(Definition),
    responses=CHANGES,
    response_class=Response,
)
def edit(change: Change, actor: Editor) -> Response:
    """Replace the definition: all of a draft; once it has started, words and testers alone. If-Match is wanted."""
    if change.if_match in (None, "*"):  # `*` is any revision (RFC 9110, 13.1.1): an edit over what nobody has read
        raise FixRequest("If-Match", "send the revision (ETag) that you have read, so that nobody's edit is lost")
    return change.take(Edit(decode_json(change.body, Definition)), actor)


@_action("start", "Start an experiment", Started, required=False)
def start(change: Change, actor: Editor) -> Response:
    """Let members take part, of the ramp's first step if it has one. What was fixed cannot be edited from now on."""
    asked = change.asked(Started)
    return change.take(Start(), actor, asked.revision)


@_action("ramp", "Let more members take part", Ramped)
def ramp(change: Change, actor: Editor) -> Response:
    """Raise the share of members who take part; nobody changes their variant."""
    asked = change.asked(Ramped)
    return change.take(Ramp(asked.traffic), actor, asked.revision)


@_action("stop", "Stop an experiment", Reasoned)
def stop(change: Change, actor: Editor) -> Response:
    """Let nobody take part any more. It cannot be started again."""
    asked = change.asked(Reasoned)
    return change.take(Stop(asked.reason), actor, asked.revision)


@_action("decide", "Decide an experiment", Decided, required=False)
def decide(change: Change, services: ServicesDep, actor: Approver) -> Response:
    """Say what a stopped experiment's results mean: what the rules say or, with a reason, otherwise."""
    asked = change.asked(Decided)
    experiment = change.store.read(change.id)
    check_allowed(experiment, Decide)  # what is refused takes no planned look
    standing = Standings(services.sql).take_look(experiment, services.clock_ms())
    return change.take(decided(standing.decision, asked.verdict, asked.reason), actor, asked.revision)


@_action("ship", "Ship a variant", Shipping)
def ship(change: Change, actor: Approver) -> Response:
    """Make a variant's patch what pages do by default, and its model the champion. It can be undone.

    Refused, unless overridden, for another variant than the rules found best, and where another model was promoted
    since the experiment started."""
    asked = change.asked(Shipping)
    variant = asked.variant or _best_treatment(change.store.read(change.id))
    return change.take(Ship(variant, asked.reason, asked.override), actor, asked.revision)


@_action("undo", "Undo shipping", Reasoned)
def undo(change: Change, actor: Approver) -> Response:
    """Make the defaults and the champion what they were before; refused once something else was shipped on top."""
    asked = change.asked(Reasoned)
    return change.take(Undo(asked.reason), actor, asked.revision)


@_action("archive", "Put an experiment away", Reasoned)
def archive(change: Change, actor: Editor) -> Response:
    """Put away what is not shipped. Nothing is lost, and nothing can be done with it any more."""
    asked = change.asked(Reasoned)
    return change.take(Archive(asked.reason), actor, asked.revision)


@router.get(
    "/v1/experiments/{experiment_id}/audit",
    summary="Who did what, when and why",
    responses=PROBLEMS | KEY_PROBLEMS | NOT_FOUND,
    response_class=Response,
)
def audit(
    experiment_id: str,
    services: ServicesDep,
    store: Store,
    _actor: Viewer,
    order: Annotated[Literal["oldest", "newest"], Query(description="Which come first")] = "oldest",
    after: Annotated[int, Query(ge=0, le=2**31 - 1, description="`next` of the page before")] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Response:
    """Return a page of an experiment's audit trail."""
    store.read(searchable("id", experiment_id))
    found = read_audit(services.sql, experiment_id, after=after, limit=limit, newest_first=order == "newest")
    return _json(Trail(found, found[-1].n if len(found) == limit else None))


def _revision(if_match: str) -> int:
    found = _REVISION.fullmatch(if_match)
    if found is None:
        raise FixRequest("If-Match", 'send the revision as the ETag has it, such as "3"')
    return int(found[1])


def _best_treatment(experiment: Experiment) -> str:
    if experiment.best is not None:
        return experiment.best
    _control, *treatments = (variant.key for variant in experiment.definition.variants)
    if len(treatments) != 1:
        raise FixRequest("variant", f"name the one to ship: {', '.join(treatments)}")
    return treatments[0]


def searchable(field: str, text: str) -> str:
    """Return what may be looked up: PostgreSQL knows no NUL, and no id is so long."""
    if "\x00" in text or len(text) > MAX_ID:
        raise FixRequest(field, f"an id has 1 to {MAX_ID} lower-case letters, digits and `-`")
    return text


def _answer(experiment: Experiment, status: int = 200) -> Response:
    answer = _json(presented(experiment), status)
    answer.headers["etag"] = f'"{experiment.revision}"'
    return answer


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(in_full(content)), status, media_type="application/json")
