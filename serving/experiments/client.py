"""The API of experiments as commands call it: over HTTP, with a key, its problems as errors of ours."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from serving.experiments.refusals import Conflict, Forbidden, Invalid, Problem, Unauthorized
from streams.errors import FixRequest, MarqueeError, SlowDown, TryAgain

TIMEOUT_S: Final = 30.0
"""Shipping reads a model's files before it answers."""

_KINDS: Final[dict[int, type[FixRequest]]] = {401: Unauthorized, 403: Forbidden, 409: Conflict}


class _ProblemBody(msgspec.Struct):
    """What is used of problem details."""

    detail: str = ""
    field: str = ""
    fix: str = ""
    errors: tuple[Problem, ...] = ()


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows no redirection: urllib would send the key along, to whatever host it names."""

    def redirect_request(self, *_: Any) -> None:
        return None


_opener: Final = urllib.request.build_opener(_Straight)


class ExperimentsClient:
    """Calls a running platform. Every method raises what its problem details say, TryAgain where nobody answers."""

    def __init__(self, url: str, key: str) -> None:
        """key: "" to read only, where reading is open."""
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise FixRequest("--url", "give an address such as http://127.0.0.1:8000")
        self._url = url.rstrip("/")
        self._key = key

    def get(self, *path: str, **query: Any) -> Any:
        """Return what there is at a path below /v1/experiments."""
        return self._call("GET", path, query=_query(query))

    def pages(self, *path: str, **query: Any) -> Iterator[Any]:
        """Yield what there is at a path whose answers come in pages, one after the other."""
        after = None
        while True:
            page = self.get(*path, **query, after=after)
            yield page
            if (after := page["next"]) is None:
                return

    def post(self, *path: str, body: Any, **query: Any) -> Any:
        """Post JSON to a path below /v1/experiments."""
        return self._call("POST", path, body, query=_query(query))

    def put(self, *path: str, body: Any, revision: int) -> Any:
        """Put JSON where a revision is."""
        return self._call("PUT", path, body, revision=revision)

    def _call(
        self, method: str, path: tuple[str, ...], body: Any = None, *, query: str = "", revision: int | None = None
    ) -> Any:
        where = "/".join((self._url, "v1/experiments", *(quote(part, safe="") for part in path)))
        content = None if body is None else msgspec.json.encode(body)
        request = urllib.request.Request(f"{where}?{query}" if query else where, content, method=method)  # noqa: S310 - http, see __init__
        request.add_header("accept", "application/json")
        if content is not None:
            request.add_header("content-type", "application/json")
        if self._key:
            request.add_header("authorization", f"Bearer {self._key}")
        if revision is not None:
            request.add_header("if-match", f'"{revision}"')
        try:
            with _opener.open(request, timeout=TIMEOUT_S) as answer:
                return msgspec.json.decode(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise _named(error.code, error.read()) from None
        except (OSError, msgspec.DecodeError) as error:
            raise TryAgain(f"no Marquee answers at {self._url} ({error}); start it with `marquee up`") from None


def _query(given: dict[str, Any]) -> str:
    return urlencode({name: value for name, value in given.items() if value is not None}, doseq=True)


def _named(status: int, content: bytes) -> MarqueeError:
    """Return the error that problem details tell of."""
    try:
        problem = msgspec.json.decode(content, type=_ProblemBody)
    except msgspec.MsgspecError:
        return TryAgain(f"it was answered with {status}, and not by Marquee: is something in between?")
    if status == 429:
        return SlowDown(problem.detail)
    if status >= 500:
        return TryAgain(problem.detail)
    if problem.errors:
        return Invalid(problem.errors)
    return _KINDS.get(status, FixRequest)(problem.field or "request", problem.fix or problem.detail)
