from __future__ import annotations

import contextlib
from pathlib import Path
from urllib.parse import quote, urlencode

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import asgi
from serving.asgi import Front
from serving.homepage.page_cache import PageKey
from serving.homepage.request import MAX_QUERY_BYTES, MAX_REMEMBERED_BYTES, RequestMemo, parse_request
from streams.errors import FixRequest
from streams.events import is_valid_id
from tests.serving.platform import running_platform

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


BAD_QUERIES = [
    ("", "member_id"),
    ("member_id=", "member_id"),
    ("member_id=%00", "member_id"),
    ("member_id=a%0Ab", "member_id"),
    ("member_id=%FF", "member_id"),
    ("member_id=" + "x" * 129, "member_id"),
    ("member_id=" + "%C3%A9" * 65, "member_id"),
    ("member_id=" + "x" * 5_000, "member_id"),
    ("member_id=a&member_id=b", "member_id"),
    ("member_id=a&country=NLD", "country"),
    ("member_id=a&country=N1", "country"),
    ("member_id=a&country=%C3%9F%C3%9F", "country"),
    ("member_id=a&device=a%20b", "device"),
    ("member_id=a&device=" + "x" * 33, "device"),
    ("member_id=a&" + "&".join(f"p{n}=1" for n in range(40)), "member_id"),
]


@pytest.mark.parametrize(("query", "field"), BAD_QUERIES)
async def test_a_bad_request_is_a_problem_that_names_the_field_and_the_fix(
    tmp_path: Path, query: str, field: str
) -> None:
    async with running_platform(tmp_path, prepared=False) as platform:
        answer = await platform.client.get(f"/homepage?{query}")
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == 400
        assert problem["field"] == field
        assert problem["fix"]
        assert len(answer.content) < 500


async def test_answers_are_json_that_nobody_may_store(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        for _ in range(2):
            answer = await platform.client.get("/homepage?member_id=ann")
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["cache-control"] == "no-store"
            assert int(answer.headers["content-length"]) == len(answer.content)


async def test_a_head_request_has_the_headers_only_and_shows_nothing(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        answer = await platform.client.head("/homepage?member_id=ann")
        assert answer.status_code == 200
        assert int(answer.headers["content-length"]) > 1_000
        assert answer.content == b""
        page = await platform.homepage("ann")
        impression = platform.services.impressions.find(page["served"]["page_id"])
        assert impression is not None
        assert impression.rows, "the first page that anyone saw is logged whole"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_not_allowed(tmp_path: Path, method: str) -> None:
    async with running_platform(tmp_path, prepared=False) as platform:
        answer = await platform.client.request(method, "/homepage?member_id=ann")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD"
        assert answer.headers["content-type"] == "application/problem+json"


async def test_the_api_description_documents_the_homepage_with_an_example(tmp_path: Path) -> None:
    async with running_platform(tmp_path, prepared=False) as platform:
        route = (await platform.client.get("/openapi.json")).json()["paths"]["/homepage"]["get"]
        assert {parameter["name"] for parameter in route["parameters"]} == {"member_id", "country", "device"}
        example = route["responses"]["200"]["content"]["application/json"]["example"]
        page = await platform.homepage()
        assert example.keys() == page.keys()
        assert example["served"].keys() == page["served"].keys()


async def test_what_fastapi_serves_behind_the_front_is_the_same_page(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        page = await platform.homepage()
        homepage, platform.front.homepage = platform.front.homepage, None
        behind = await platform.homepage()
        platform.front.homepage = homepage
        assert behind["served"]["cache"] == "hit"
        assert behind["rows"] == page["rows"]


async def test_beyond_the_bound_other_routes_say_when_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "MAX_REQUESTS", 2)
    gate, statuses = anyio.Event(), []

    async def api(scope: object, receive: object, send: object) -> None:
        await gate.wait()

    front = Front(api)

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.start":
            statuses.append((message["status"], dict(message["headers"])[b"retry-after"]))  # type: ignore[call-overload]  # pairs

    async def ask(path: str) -> None:
        await front({"type": "http", "path": path, "method": "GET"}, None, send)  # type: ignore[arg-type]  # not read from

    async with anyio.create_task_group() as tasks:
        for path in ("/v1/members", "/v1/members", "/v1/members", "/healthz"):
            tasks.start_soon(ask, path)
        await anyio.sleep(0.01)
        assert statuses == [(503, b"1")]
        gate.set()


@given(
    st.text(min_size=1, max_size=40).filter(is_valid_id),
    st.sampled_from(["", "NL", "de"]),
    st.sampled_from(["", "tv", "Set-Top_9"]),
)
def test_any_valid_request_is_read_as_it_was_written(member_id: str, country: str, device: str) -> None:
    query = urlencode({"device": device, "member_id": member_id, "country": country, "utm": "x"}).encode()
    request = parse_request(query)
    assert request.key == PageKey(member_id, country.upper(), device.lower())
    assert request.member_key == member_id.encode()


@given(
    st.binary(max_size=200) | st.text(max_size=60).map(lambda text: f"member_id={quote(text)}&country={text}".encode())
)
def test_no_query_string_does_more_than_be_refused(query: bytes) -> None:
    with contextlib.suppress(FixRequest):
        assert is_valid_id(parse_request(query).key.member_id)


def test_what_query_strings_say_is_remembered_for_a_bounded_number() -> None:
    memo = RequestMemo(size=10)
    first = memo.parse(b"member_id=m0")
    assert memo.parse(b"member_id=m0") is first
    for number in range(1, 12):
        memo.parse(b"member_id=m%d" % number)
    assert memo.parse(b"member_id=m0") is first, "the older half is still known"
    for number in range(100, 125):
        memo.parse(b"member_id=m%d" % number)
    assert memo.parse(b"member_id=m0") is not first
    assert len(memo._newer) + len(memo._older) <= 20


def test_long_queries_are_not_remembered() -> None:
    memo = RequestMemo()
    query = b"member_id=ann&other=" + b"x" * MAX_REMEMBERED_BYTES
    assert memo.parse(query).key == memo.parse(query).key == PageKey("ann", "", "")
    assert not memo._newer


def test_refusals_are_not_remembered() -> None:
    memo = RequestMemo()
    for _ in range(2):
        with pytest.raises(FixRequest):
            memo.parse(b"member_id=" + b"x" * MAX_QUERY_BYTES)
    assert not memo._newer
