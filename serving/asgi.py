"""The ASGI front: answers `GET /homepage` itself, and hands everything else to FastAPI.

A cache hit takes a few microseconds to find; routing, validation and response objects would take ten times that.
"""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.homepage.page_counts import PAGE_COUNTS
from serving.homepage.request import RequestMemo
from serving.homepage.service import HomepageService
from streams.errors import FixRequest

PATH: Final = "/homepage"
METHODS: Final = frozenset({"GET", "HEAD"})
MAX_REQUESTS: Final = 512
"""Requests in work beside homepages (those have deadlines): ten times the threads that could work on them."""

UNBOUNDED: Final = frozenset({"/healthz", "/metrics"})
"""Answered however busy the process is: they are how one finds out."""

_JSON: Final = (b"content-type", b"application/json")
_PROBLEM: Final = (b"content-type", b"application/problem+json")
_NO_STORE: Final = (b"cache-control", b"no-store")
"""Every answer is of this moment; the page cache is here, where events can reach it."""


class Front:
    """The ASGI application of a serving process. `homepage` and `requests` are set by the lifespan, before the first
    request."""

    def __init__(self, api: ASGIApp) -> None:
        self.api = api
        self.homepage: HomepageService | None = None
        self.requests = RequestMemo()
        self._in_work = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take part in the lifespan."""
        if scope["type"] != "http":
            await self.api(scope, receive, send)
        elif scope["path"] == PATH and self.homepage is not None:
            if scope["method"] not in METHODS:
                detail = f"{scope['method']} is not allowed here"
                await send_problem(send, 405, detail, (b"allow", b"GET, HEAD"), fix="use GET")
                return
            try:
                request = self.requests.parse(scope["query_string"])
            except FixRequest as error:
                PAGE_COUNTS.refused += 1
                await send_problem(send, 400, str(error), field=error.field, fix=error.fix)
                return
            if scope["method"] == "GET":
                body = self.homepage.hit(request, time.time_ns() // 1_000_000)
                await _send(send, 200, _JSON, body or await self.homepage.serve(request))
            else:
                await _send(send, 200, _JSON, await self.homepage.serve(request, shown=False), is_head=True)
        elif scope["path"] in UNBOUNDED:
            await self.api(scope, receive, send)
        else:
            await self._bounded(scope, receive, send)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._in_work >= MAX_REQUESTS:
            detail = f"{MAX_REQUESTS} requests are in work"
            await send_problem(send, 503, detail, (b"retry-after", b"1"), fix="retry after 1 s")
            return
        self._in_work += 1
        try:
            await self.api(scope, receive, send)
        finally:
            self._in_work -= 1


async def send_problem(send: Send, status: int, detail: str, *headers: tuple[bytes, bytes], **members: Any) -> None:
    """Send problem details (RFC 9457); `members` (field, fix) are added to the object."""
    title = {400: "Bad request", 405: "Method not allowed", 503: "Try again later"}[status]
    body = msgspec.json.encode({"type": "about:blank", "title": title, "status": status, "detail": detail, **members})
    await _send(send, status, _PROBLEM, body, *headers)


async def _send(
    send: Send,
    status: int,
    content_type: tuple[bytes, bytes],
    body: bytes,
    *more: tuple[bytes, bytes],
    is_head: bool = False,
) -> None:
    """Send a response; that of a HEAD tells the length of the body and leaves it out."""
    headers = [content_type, _NO_STORE, (b"content-length", b"%d" % len(body)), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if is_head else body})
