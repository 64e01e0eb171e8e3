"""Who asks: the key in `Authorization: Bearer …`, its role, and what a route needs. Keys are never taken from URLs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from serving.api.dependencies import PROBLEMS, ServicesDep
from serving.experiments.refusals import Forbidden, Unauthorized
from serving.experiments.roles import Actor, Role, find_actor

router = APIRouter(tags=["keys"])

MAX_KEY: Final = 256
ANYONE: Final = Actor("anyone", "viewer")
"""Who reads without a key, where reading is open."""

_bearer: Final = HTTPBearer(auto_error=False, description="A key of `marquee keys create`")
_Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]

KEY_PROBLEMS: Final[dict[int | str, dict[str, object]]] = {
    401: {"description": "A key is wanted, or this one is not known", "content": {"application/problem+json": {}}},
    403: {"description": "The key's role may not do this", "content": {"application/problem+json": {}}},
}
"""The problem responses of routes that want a key."""


def require(role: Role) -> Callable[..., Actor]:
    """Return a dependency that gives the actor. It raises Unauthorized, Forbidden, or TryAgain without the database."""

    def actor(services: ServicesDep, credentials: _Credentials) -> Actor:
        if credentials is None:
            if role == "viewer" and services.settings.reads_are_open:
                return ANYONE
            raise Unauthorized("Authorization", f"send `Bearer` and a key whose role is {role}; see `marquee keys`")
        key = credentials.credentials
        found = find_actor(services.sql, key) if len(key) <= MAX_KEY else None
        if found is None:
            raise Unauthorized("Authorization", "the key is not known, or was revoked; see `marquee keys list`")
        if not found.may(role):
            raise Forbidden("Authorization", f"{found.name} is {found.role}; this needs a key whose role is {role}")
        return found

    return actor


Viewer = Annotated[Actor, Depends(require("viewer"))]
Editor = Annotated[Actor, Depends(require("editor"))]
Approver = Annotated[Actor, Depends(require("approver"))]


class WhoAmI(BaseModel):
    """The name and the role of the key that was sent; role: `viewer`, `editor` or `approver`."""

    name: str
    role: str


@router.get("/v1/keys/mine", summary="Who a key lets in", responses=PROBLEMS | KEY_PROBLEMS)
def mine(actor: Viewer) -> WhoAmI:
    """Return who the caller is."""
    return WhoAmI(name=actor.name, role=actor.role)
