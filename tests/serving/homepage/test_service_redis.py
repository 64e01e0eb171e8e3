"""The homepage over a Redis of its own: pages are shared, and whatever happens to Redis each answer is a true 200."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.homepage import page_maker
from serving.pages.builder import build_page
from serving.pages.page import Page
from streams.experiments.definition import Patch
from streams.forget import forget_member
from tests.engines import RedisServer
from tests.serving.experiments.running import experiment, write_experiment
from tests.serving.homepage.test_service import titles_of, until
from tests.serving.platform import Platform, running_platform

pytestmark = pytest.mark.anyio

LATE_S = 0.3
"""What an answer may take over the deadline, on a busy machine."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def redis(redis_server: Callable[[], RedisServer]) -> RedisServer:
    return redis_server()


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that each page built from now on adds its member to."""
    members: list[str] = []

    def counted(inputs: Any) -> Page:
        members.append(inputs.context.member_id)
        return build_page(inputs)

    monkeypatch.setattr(page_maker, "build_page", counted)
    return members


@contextlib.asynccontextmanager
async def platform_on(redis: RedisServer, folder: Path, **changes: Any) -> AsyncIterator[Platform]:
    async with running_platform(folder, hot_url=redis.url, **changes) as platform:
        await until(lambda: platform.services.live.problem is None)
        yield platform


async def is_known(platform: Platform, member_id: str = "ann") -> None:
    """Return once the page of a member is a hit without asking Redis."""
    await until(lambda: platform.services.live.known_version("member", member_id.encode()) is not None)


async def is_shared(platform: Platform, member_id: str = "ann", name: bytes = b"\x1f\x1f") -> None:
    """Return once a member's page can be read by other processes."""
    deadline_s = time.monotonic() + 5
    while (await platform.services.live.read("member", member_id.encode(), name)).page is None:
        assert time.monotonic() < deadline_s, "the page was not shared"
        await asyncio.sleep(0.02)


@contextlib.contextmanager
def frozen(redis: RedisServer) -> Iterator[None]:
    redis.freeze()
    try:
        yield
    finally:
        redis.thaw()


async def timed(platform: Platform, member_id: str, **params: str) -> tuple[dict[str, Any], float]:
    started_s = time.monotonic()
    page = await platform.homepage(member_id, **params)
    return page["served"], time.monotonic() - started_s


async def test_a_page_made_by_one_process_is_served_by_the_next_and_names_its_first_showing(
    redis: RedisServer, tmp_path: Path, built: list[str]
) -> None:
    async with platform_on(redis, tmp_path) as platform:
        first = await platform.homepage()
        assert (first["served"]["cache"], built) == ("miss", ["ann"])
        await is_shared(platform)
        assert (await platform.homepage())["served"]["cache"] == "hit"
    async with platform_on(redis, tmp_path, prepared=False) as other:
        again = await other.homepage()
        assert (again["served"]["step"], again["served"]["cache"], built) == ("fresh", "hit", ["ann"])
        assert again["rows"] == first["rows"]
        assert again["served"]["cache_age_ms"] > 0
        replayed = (await other.client.get(f"/v1/pages/{again['served']['page_id']}")).json()
        assert replayed["origin_page_id"] == first["served"]["page_id"]
        assert replayed["recomputed"]["equal"]
        assert (await other.homepage(device="tv"))["served"]["cache"] == "miss"


async def test_a_page_is_shared_for_its_variants_alone(redis: RedisServer, tmp_path: Path, built: list[str]) -> None:
    patch = Patch(params={"row_size": 6.0}, page_ttl_s=300.0)
    async with platform_on(redis, tmp_path) as platform:
        write_experiment(platform.services.sql, experiment(patch, forced={"ann": "b"}))
        await until(lambda: bool(platform.services.experiments.current.experiments))
        first = await platform.homepage()
        await is_shared(platform, name=b"\x1f\x1fexp=b|forced=exp")
    async with platform_on(redis, tmp_path, prepared=False) as other:
        again = await other.homepage()
        assert (again["served"]["cache"], again["served"]["variants"]) == ("hit", {"exp": "b"})
        assert (again["rows"], built) == (first["rows"], ["ann"])
        assert (await other.client.get(f"/v1/pages/{again['served']['page_id']}")).json()["recomputed"]["equal"]
        write_experiment(other.services.sql, experiment(patch, forced={"ann": "a"}, revision=2))
        await until(lambda: other.services.experiments.current.experiments["exp"].revision == 2)
        control = await other.homepage()
        assert (control["served"]["cache"], control["served"]["variants"]) == ("miss", {"exp": "a"})
        assert control["rows"] != first["rows"]


async def test_an_event_folded_anywhere_supersedes_the_page_in_memory_and_the_shared_one(
    redis: RedisServer, tmp_path: Path
) -> None:
    async with platform_on(redis, tmp_path) as platform:
        before = await platform.homepage()
        await is_shared(platform)
        await is_known(platform)
        played = titles_of(before)[0]
        platform.act("ann", played)
        await until(lambda: platform.services.live.known_version("member", b"ann") is None)
        after = await platform.homepage()
        assert (after["served"]["step"], after["served"]["cache"]) == ("fresh", "miss")
        assert after["served"]["feature_position"] > before["served"]["feature_position"]
        assert played not in titles_of(after)


async def test_a_hit_asks_redis_nothing(redis: RedisServer, tmp_path: Path) -> None:
    async with platform_on(redis, tmp_path) as platform:
        await platform.homepage()
        await is_known(platform)
        with frozen(redis):
            served, took_s = await timed(platform, "ann")
            assert (served["step"], served["cache"], served["degraded"]) == ("fresh", "hit", None)
            assert took_s < LATE_S


async def test_a_forgotten_members_pages_are_gone_from_everywhere(redis: RedisServer, tmp_path: Path) -> None:
    async with platform_on(redis, tmp_path) as platform:
        for device in ("", "tv"):
            await platform.homepage(device=device)
        await is_shared(platform, name=b"\x1ftv\x1f")
        forget_member("ann", platform.services.hot, platform.services.durable)
        assert (await platform.services.live.read("member", b"ann", b"\x1ftv\x1f")).page is None
        after = await platform.homepage()
        assert (after["served"]["step"], after["served"]["cache"]) == ("fresh", "miss")
        assert after["served"]["feature_age_ms"] is None
        assert (await platform.homepage(device="tv"))["served"]["feature_age_ms"] is None


async def test_a_shared_page_is_served_as_stale_by_a_process_that_can_make_none(
    redis: RedisServer, tmp_path: Path
) -> None:
    async with platform_on(redis, tmp_path) as platform:
        first = await platform.homepage()
        await is_shared(platform)
    (tmp_path / "marquee.db").unlink()
    async with platform_on(redis, tmp_path, prepared=False) as other:
        assert other.services.models.current is None
        again = await other.homepage()
        assert (again["served"]["step"], again["served"]["cache"]) == ("stale", "hit")
        assert again["served"]["degraded"].startswith("model unavailable")
        assert again["served"]["cache_age_ms"] > 0
        assert again["rows"] == first["rows"]


async def test_concurrent_requests_share_one_round_trip_and_one_build(
    redis: RedisServer, tmp_path: Path, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform_on(redis, tmp_path) as platform:
        reads, read = [], platform.services.live.read

        async def counted(*asked: Any) -> Any:
            reads.append(asked)
            return await read(*asked)

        monkeypatch.setattr(platform.services.live, "read", counted)
        pages = await asyncio.gather(*(platform.homepage() for _ in range(50)))
        assert (len(reads), built) == (1, ["ann"])
        assert len({page["served"]["page_id"] for page in pages}) == 50


async def test_a_frozen_redis_costs_a_timeout_now_and_then_and_never_the_deadline(
    redis: RedisServer, tmp_path: Path
) -> None:
    async with platform_on(redis, tmp_path, page_deadline_s=0.25) as platform:
        await platform.homepage()
        with frozen(redis):
            answers = [await timed(platform, member) for member in ("ben", "cleo", "dai", "eve", "fay") * 2]
            assert {served["step"] for served, _ in answers} == {"fresh"}, "the durable store has them all"
            assert all(served["degraded"].startswith("hot store unavailable") for served, _ in answers)
            assert all(took_s < platform.settings.page_deadline_s + LATE_S for _, took_s in answers)
            slow = [took_s for _, took_s in answers if took_s > platform.settings.redis_timeout_s]
            assert len(slow) <= 4, "each request waited for a Redis that was known to hang"
            together = await asyncio.gather(*(timed(platform, "ben", device=f"d{n}") for n in range(20)))
            assert all(took_s < platform.settings.page_deadline_s + LATE_S for _, took_s in together)
            answer = await platform.client.get("/healthz", timeout=1)
            assert answer.status_code == 200
        await until(lambda: platform.services.live.problem is None)
        await asyncio.sleep(0.3)
        assert (await platform.homepage("fay"))["served"]["degraded"] is None


async def test_a_redis_that_is_killed_is_missed_by_nobody_and_taken_up_again(
    redis: RedisServer, tmp_path: Path
) -> None:
    async with platform_on(redis, tmp_path) as platform:
        before = await platform.homepage()
        redis.kill()
        await until(lambda: platform.services.live.problem is not None)
        for member, cache in (("ann", "hit"), ("ben", "miss")):
            served, took_s = await timed(platform, member)
            assert (served["step"], served["cache"]) == ("fresh", cache)
            assert served["degraded"].startswith("hot store unavailable")
            assert took_s < LATE_S
        redis.start(wipe=True)
        await until(lambda: platform.services.live.problem is None)
        after = await platform.homepage()
        assert (after["served"]["step"], after["served"]["degraded"]) == ("fresh", None)
        assert after["served"]["feature_position"] == before["served"]["feature_position"]
        await until(lambda: platform.services.hot.positions("member", [b"ann"]) != [0])


async def test_an_emptied_redis_is_refilled_by_what_pages_ask_for(redis: RedisServer, tmp_path: Path) -> None:
    async with platform_on(redis, tmp_path) as platform:
        before = await platform.homepage()
        await is_known(platform)
        flush(redis)
        await until(lambda: platform.services.live.known_version("member", b"ann") is None)
        after = await platform.homepage()
        assert (after["served"]["step"], after["served"]["cache"], after["served"]["degraded"]) == (
            "fresh",
            "hit",
            None,
        )
        assert after["served"]["feature_position"] == before["served"]["feature_position"]
        await until(lambda: platform.services.hot.positions("member", [b"ann"]) != [0])


async def test_with_redis_frozen_and_the_durable_store_away_pages_fall_as_far_as_they_must(
    redis: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform_on(redis, tmp_path, page_deadline_s=0.25) as platform:
        await platform.homepage("ann")

        def hang(*_: object) -> Any:
            time.sleep(0.5)
            return [None]

        for name in ("get", "versions", "positions"):
            monkeypatch.setattr(platform.services.durable, name, hang)
        with frozen(redis):
            await until(lambda: platform.services.live.known_version("member", b"ann") is None)
            answers = await asyncio.gather(timed(platform, "ann"), timed(platform, "ben"), timed(platform, "cleo"))
            assert [served["step"] for served, _ in answers] == ["stale", "popular", "popular"]
            for served, took_s in answers:
                assert "hot store unavailable" in served["degraded"]
                assert "durable store unavailable" in served["degraded"]
                assert took_s < platform.settings.page_deadline_s + LATE_S


def flush(redis: RedisServer) -> None:
    import redis as client

    with client.Redis.from_url(redis.url) as connection:
        connection.flushall()
