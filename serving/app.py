"""The serving process: wires engines, holders and services, and closes them in order.

`create_app(settings)` returns the ASGI application: a plain ASGI front that answers `GET /homepage`, and FastAPI behind
it for everything else. Routers are the `router` of each module in `serving.api`; they find the `Services` in
`request.app.state.services`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from fastapi import APIRouter, FastAPI

import serving.api
from streams.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """Return the application of one serving process over the engines that `settings` name."""
    app = FastAPI(title="Marquee", version="0.1.0")
    for router in _routers():
        app.include_router(router)
    return app


def _routers() -> Iterator[APIRouter]:
    for module in pkgutil.iter_modules(serving.api.__path__):
        router = getattr(importlib.import_module(f"serving.api.{module.name}"), "router", None)
        if isinstance(router, APIRouter):
            yield router
