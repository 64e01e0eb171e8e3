"""`/experiments`: pages to create, watch and decide experiments, with their files; their data are the REST API's."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any, Final, get_args

import sqlalchemy as sa
from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse

from serving.api.dependencies import ServicesDep
from serving.models.registry import model_aliases
from serving.pages.page import RowKind
from serving.pages.params import DEFAULT_PARAMS
from serving.problems import NotFound
from streams.errors import MarqueeError
from streams.events import EVENT_TYPES
from streams.stores.sql import reading

router = APIRouter(include_in_schema=False)

STATIC: Final = Path(__file__).resolve().parent.parent / "static" / "experiments"
SHELL: Final = "shell.html"
"""What all pages have around what they show: their head and header, and the dialog to sign in."""

FILES: Final = {path.name: path for path in STATIC.iterdir() if path.is_file() and path.suffix != ".html"}
"""Only what was there at the start is served, so no path in a request ever reaches the file system."""

HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
"""Nothing from elsewhere, and no script in the page itself: what an owner writes can never run."""


def _page(name: str, title: str) -> bytes:
    """Return a page: what it shows, in the shell, with its script."""
    shell, main = ((STATIC / file).read_text("utf-8").rstrip() for file in (SHELL, f"{name}.html"))
    return Template(shell).substitute(title=title, main=main, script=f"{name}_page.js").encode()


LIST: Final = _page("list", "Experiments")
NEW: Final = _page("new", "New experiment")
ONE: Final = _page("one", "Experiment")


@router.get("/experiments")
def list_page() -> HTMLResponse:
    """Return the page of all experiments."""
    return HTMLResponse(LIST, headers=HEADERS)


@router.get("/experiments/new")
def new_page() -> HTMLResponse:
    """Return the form that writes a definition."""
    return HTMLResponse(NEW, headers=HEADERS)


@router.get("/experiments/{experiment_id}")
def experiment_page(experiment_id: str) -> HTMLResponse:
    """Return the page of one experiment; whether there is such a one, the REST API tells the page."""
    return HTMLResponse(ONE, headers=HEADERS)


@router.get("/static/experiments/vocabulary.json")
def vocabulary(services: ServicesDep) -> dict[str, Any]:
    """Return what a form can offer: kinds of events and of rows, the pages' parameters with their defaults, and the
    models that serve by now or have an alias; while the database is away, those that serve."""
    params = {name: getattr(DEFAULT_PARAMS, name) for name in DEFAULT_PARAMS.__dataclass_fields__}
    numbers = {name: value for name, value in params.items() if type(value) in (int, float)}
    return {
        "event_types": EVENT_TYPES,
        "row_kinds": get_args(RowKind),
        "page_params": numbers,
        "models": sorted({*services.models.models, *_aliases(services.sql)}),
    }


def _aliases(engine: sa.Engine) -> list[str]:
    try:
        with reading(engine) as connection:
            return list(connection.scalars(sa.select(model_aliases.c.alias)))
    except MarqueeError:
        return []


@router.get("/static/experiments/{name}")
def experiments_file(name: str) -> FileResponse:
    """Return one of the pages' files."""
    if name not in FILES:
        raise NotFound("name", "there is no such file")
    return FileResponse(FILES[name], headers=HEADERS)
