"""`/`: a page to look at, and its files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.responses import FileResponse

from serving.problems import NotFound

router = APIRouter(include_in_schema=False)

STATIC: Final = Path(__file__).resolve().parent.parent / "static"
FILES: Final = {path.name: path for path in STATIC.iterdir() if path.is_file()}
"""Only what was there at the start is served, so no path in a request ever reaches the file system."""


@router.get("/")
def index() -> FileResponse:
    """Return the demonstration page."""
    return FileResponse(FILES["index.html"])


@router.get("/static/{name}")
def static_file(name: str) -> FileResponse:
    """Return one of the page's files."""
    if name not in FILES:
        raise NotFound("name", "there is no such file")
    return FileResponse(FILES[name])
