"""The homepage while things break. Each answer is a 200 with the true step and reason, and all is well once mended."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from prometheus_client import REGISTRY

from serving.homepage import page_maker
from serving.homepage import service as homepage
from serving.models import registry
from serving.pages.builder import build_page
from serving.pages.page import Page, PageTitle, Row
from streams.catalogue import Title, publish_titles
from streams.errors import TryAgain
from streams.forget import forget_member
from streams.impressions import decode_impression, showings_of
from streams.stores.embedded_hot import EmbeddedHotStore
from streams.stores.protocol import StateEntry, tombstone
from streams.topics import IMPRESSIONS
from tests.serving.platform import (
    GENRES,
    Platform,
    append_events,
    event_of,
    now_ms,
    prepare,
    running_platform,
    small_catalogue,
    small_settings,
)
from tests.serving.tiny_model import write_tiny_model

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def titles_of(page: dict[str, Any]) -> list[str]:
    return [item["item_id"] for row in page["rows"] for item in row["items"]]


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come about in time"
        await asyncio.sleep(0.02)


@contextlib.contextmanager
def away(path: Path, *, blocked: bool = True) -> Iterator[None]:
    """Take a file or folder away; blocked: so that it cannot be made anew. Put it back afterwards."""
    kept = path.with_name(path.name + ".away")
    path.rename(kept)
    if blocked:
        path.write_bytes(b"")
    try:
        yield
    finally:
        if blocked:
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
        kept.rename(path)


@contextlib.contextmanager
def locked(path: Path, *, alone: bool = False) -> Iterator[None]:
    """Hold a SQLite file's write lock; alone: so that nobody who opens it from now on can even read."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=2)
    if alone:
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


async def test_the_second_page_comes_from_the_cache_with_another_page_id(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        first, second = await platform.homepage(), await platform.homepage()
        assert (first["served"]["step"], first["served"]["cache"]) == ("fresh", "miss")
        assert (second["served"]["step"], second["served"]["cache"]) == ("fresh", "hit")
        assert first["served"]["degraded"] is second["served"]["degraded"] is None
        assert first["served"]["page_id"] < second["served"]["page_id"]
        assert first["rows"] == second["rows"]
        assert len(titles_of(first)) > 30


async def test_country_and_device_make_pages_of_their_own(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        for params in ({}, {"country": "NL"}, {"country": "NL", "device": "tv"}):
            assert (await platform.homepage(**params))["served"]["cache"] == "miss"
        assert (await platform.homepage(country="nl", device="TV"))["served"]["cache"] == "hit"


async def test_an_event_once_folded_makes_the_next_page_differ(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        before = await platform.homepage()
        played = titles_of(before)[0]
        platform.act("ann", played)
        after = await platform.homepage()
        assert after["served"]["cache"] == "miss"
        assert after["served"]["step"] == "fresh"
        assert after["served"]["feature_position"] > before["served"]["feature_position"]
        assert played in titles_of(before)
        assert played not in titles_of(after)


async def test_an_event_of_another_member_leaves_the_page_in_the_cache(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        await platform.homepage("ann")
        platform.act("ben", "t3")
        assert (await platform.homepage("ann"))["served"]["cache"] == "hit"


async def test_concurrent_misses_build_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    original = build_page

    def counted(inputs: Any) -> Page:
        built.append(inputs.context.member_id)
        return original(inputs)

    monkeypatch.setattr(page_maker, "build_page", counted)
    async with running_platform(tmp_path) as platform:
        pages = await asyncio.gather(*(platform.homepage() for _ in range(50)))
        assert built == ["ann"]
        assert len({page["served"]["page_id"] for page in pages}) == 50
        impressions = [platform.services.impressions.find(page["served"]["page_id"]) for page in pages]
        whole = [impression for impression in impressions if impression is not None and impression.rows]
        assert len(whole) == 1
        repeats = {impression.origin_page_id for impression in impressions if impression is not None}
        assert repeats == {None, whole[0].page_id}


async def test_a_member_unknown_to_both_stores_gets_a_fresh_page(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        page = await platform.homepage("nobody")
        assert (page["served"]["step"], page["served"]["degraded"]) == ("fresh", None)
        assert page["served"]["feature_age_ms"] is None
        assert page["served"]["feature_position"] == 0
        assert titles_of(page)
        assert (await platform.homepage("nobody"))["served"]["cache"] == "hit"


async def test_a_forgotten_member_is_one_without_events(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        position = (await platform.homepage())["served"]["feature_position"]
        for store in (platform.services.hot, platform.services.durable):
            store.put("member", [StateEntry(b"ann", tombstone(position + 1))])
        page = await platform.homepage()
        assert (page["served"]["step"], page["served"]["cache"]) == ("fresh", "miss")
        assert page["served"]["feature_age_ms"] is None
        assert (await platform.homepage())["served"]["cache"] == "hit"


async def test_no_page_outlives_the_state_of_a_member_forgotten_as_of_their_last_event(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        before = await platform.homepage()
        await platform.homepage(device="tv")
        assert before["served"]["feature_age_ms"] is not None
        forget_member("ann", platform.services.hot, platform.services.durable)
        after = await platform.homepage()
        assert (after["served"]["step"], after["served"]["cache"]) == ("fresh", "miss")
        assert after["served"]["feature_age_ms"] is None
        assert (await platform.homepage())["served"]["cache"] == "hit"
        with away(tmp_path / "hot"), locked_durable(platform):
            await asyncio.sleep(0.12)
            assert (await platform.homepage())["served"]["step"] == "stale"
            assert (await platform.homepage(device="tv"))["served"]["step"] == "popular"


async def test_a_first_event_that_is_folded_while_the_state_is_read_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_platform(tmp_path) as platform:
        original, acted = EmbeddedHotStore.get, []

        def get(store: EmbeddedHotStore, kind: str, keys: Sequence[bytes]) -> list[bytes | None]:
            found = original(store, kind, keys)
            if kind == "member" and not acted:
                acted.append(True)
                platform.act("new", "t3")
            return found

        monkeypatch.setattr(EmbeddedHotStore, "get", get)
        await platform.homepage("new")
        page = await platform.homepage("new")
        assert page["served"]["step"] == "fresh"
        assert page["served"]["feature_age_ms"] is not None
        assert "t3" not in titles_of(page)


async def test_a_state_that_goes_back_between_two_looks_makes_no_fresh_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_platform(tmp_path) as platform:
        versions = EmbeddedHotStore.versions
        monkeypatch.setattr(EmbeddedHotStore, "versions", lambda *asked: [v + 2 for v in versions(*asked)])
        served = (await platform.homepage("ben"))["served"]
        assert served["step"] != "fresh"
        assert served["degraded"].startswith("stores behind")


async def test_a_page_past_its_ttl_is_computed_anew(tmp_path: Path) -> None:
    async with running_platform(tmp_path, page_ttl_s=0.05) as platform:
        first = await platform.homepage()
        await asyncio.sleep(0.06)
        second = await platform.homepage()
        assert second["served"]["cache"] == "miss"
        assert second["served"]["page_id"] != first["served"]["page_id"]


async def test_a_new_champion_makes_cached_pages_old(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        first = await platform.homepage()
        titles = list(platform.catalogue.values())
        version = write_tiny_model(platform.services.blobs, platform.services.sql, titles, GENRES, seed=9)
        await until(
            lambda: platform.services.models.current is not None and platform.services.models.current.version == version
        )
        second = await platform.homepage()
        assert second["served"]["cache"] == "miss"
        assert second["served"]["model_version"] == version != first["served"]["model_version"]


async def test_a_new_title_is_on_pages_within_seconds(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        publish_titles(platform.services.sql, [Title("new", "New", 2026, ("Comedy",))], now_ms() - 5_000)
        await until(lambda: "new" in platform.catalogue)
        await until(lambda: "new" in platform.services.titles.current.order.rows)


async def test_a_hot_store_that_is_deleted_costs_nothing_but_a_read_of_the_durable_one(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        before = await platform.homepage()
        shutil.rmtree(tmp_path / "hot")
        await asyncio.sleep(0.12)
        after = await platform.homepage()
        assert (after["served"]["step"], after["served"]["degraded"]) == ("fresh", None)
        assert after["served"]["feature_position"] == before["served"]["feature_position"]
        await until(lambda: platform.services.hot.positions("member", [b"ann"]) != [0])
        assert (await platform.homepage())["served"]["cache"] == "hit"


async def test_a_deleted_hot_store_learns_again_who_was_forgotten(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        forget_member("ann", platform.services.hot, platform.services.durable)
        version = platform.services.hot.versions("member", [b"ann"])
        shutil.rmtree(tmp_path / "hot")
        await asyncio.sleep(0.12)
        assert (await platform.homepage())["served"]["feature_age_ms"] is None
        await until(lambda: platform.services.hot.versions("member", [b"ann"]) == version)
        assert (await platform.homepage())["served"]["cache"] == "hit"


async def test_events_of_a_member_that_a_deleted_hot_store_knew_are_not_missed_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homepage, "UNKNOWN_MS", 100)
    async with running_platform(tmp_path) as platform:
        for cache in ("miss", "hit"):
            assert (await platform.homepage("new"))["served"]["cache"] == cache
        platform.act("new", "t3")
        shutil.rmtree(tmp_path / "hot")
        await asyncio.sleep(0.12)
        page = await platform.homepage("new")
        assert (page["served"]["step"], page["served"]["cache"]) == ("fresh", "miss")
        assert page["served"]["feature_age_ms"] is not None


async def test_a_member_without_events_is_looked_for_in_the_durable_store_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homepage, "UNKNOWN_MS", 50)
    async with running_platform(tmp_path) as platform:
        await platform.homepage("nobody")
        await asyncio.sleep(0.06)
        for _ in range(2):
            served = (await platform.homepage("nobody"))["served"]
            assert (served["step"], served["cache"], served["degraded"]) == ("fresh", "hit", None)
        await asyncio.sleep(0.06)
        with locked_durable(platform):
            served = (await platform.homepage("nobody"))["served"]
            assert (served["step"], served["cache"]) == ("stale", "hit")
            assert served["degraded"].startswith("durable store unavailable")


async def test_a_hot_store_that_cannot_be_read_is_named_while_the_durable_one_answers(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        await platform.homepage("ann")
        with away(tmp_path / "hot"):
            await asyncio.sleep(0.12)
            for member, cache in (("ann", "hit"), ("ben", "miss"), ("ben", "hit"), ("nobody", "miss")):
                served = (await platform.homepage(member))["served"]
                assert (served["step"], served["cache"]) == ("fresh", cache)
                assert served["degraded"].startswith("hot store unavailable")
            assert "hot" in platform.services.problems()
        await asyncio.sleep(0.12)
        assert (await platform.homepage())["served"]["degraded"] is None
        assert platform.services.problems() == {}


async def test_an_event_that_only_the_durable_store_has_supersedes_the_cached_page(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        before = await platform.homepage()
        platform.act("ann", "t3")
        with away(tmp_path / "hot"):
            await asyncio.sleep(0.12)
            served, deadline_s = before["served"], time.monotonic() + 10
            while served["feature_position"] == before["served"]["feature_position"]:  # a busy machine misses 50 ms
                assert time.monotonic() < deadline_s, "the durable store's state was not shown"
                served = (await platform.homepage())["served"]
            assert served["cache"] == "miss"
            assert served["feature_position"] > before["served"]["feature_position"]


async def test_a_durable_store_locked_against_writes_does_not_matter_to_pages(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        with locked(tmp_path / "durable.db"):
            for member in ("ann", "nobody"):
                served = (await platform.homepage(member))["served"]
                assert (served["step"], served["degraded"]) == ("fresh", None)


async def test_serving_starts_while_somebody_has_the_durable_store_for_themselves(tmp_path: Path) -> None:
    prepare(small_settings(tmp_path))
    with locked(tmp_path / "durable.db", alone=True):
        async with running_platform(tmp_path, prepared=False) as platform:
            assert (await platform.homepage("ann"))["served"]["step"] == "fresh"
            nobody = (await platform.homepage("nobody"))["served"]
            assert nobody["step"] == "popular"
            assert nobody["degraded"].startswith("durable store unavailable")
            assert "durable" in platform.services.problems()
    async with running_platform(tmp_path, prepared=False) as platform:
        assert (await platform.homepage("nobody"))["served"]["step"] == "fresh"


async def test_without_the_durable_store_nobody_can_tell_who_is_new(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        with away(tmp_path / "durable.db"), away(tmp_path / "durable.db-wal"):
            platform.services.durable.close()
            page = await platform.homepage("nobody")
            assert page["served"]["step"] == "popular"
            assert page["served"]["cache"] == "bypass"
            assert page["served"]["degraded"].startswith("durable store unavailable")
            assert titles_of(page)


async def test_a_durable_store_that_hangs_keeps_nobody_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_platform(tmp_path, page_deadline_s=2.0) as platform:
        answered = threading.Event()

        def hang(*_: object) -> list[bytes | None]:
            assert answered.wait(60), "a page has waited for the durable store"
            return [None]

        monkeypatch.setattr(platform.services.durable, "get", hang)
        try:
            pages = await asyncio.gather(*(platform.homepage(f"nobody{n}") for n in range(8)), platform.homepage("ann"))
        finally:
            answered.set()
        assert {page["served"]["step"] for page in pages[:-1]} == {"popular"}
        assert "no answer within 400 ms" in pages[0]["served"]["degraded"]
        assert pages[-1]["served"]["step"] == "fresh"


async def test_with_both_stores_away_a_cached_page_is_served_as_stale(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        before = await platform.homepage()
        with away(tmp_path / "hot"), locked_durable(platform):
            await asyncio.sleep(0.12)
            page = await platform.homepage()
            assert (page["served"]["step"], page["served"]["cache"]) == ("stale", "hit")
            assert "hot store unavailable" in page["served"]["degraded"]
            assert "durable store unavailable" in page["served"]["degraded"]
            assert page["rows"] == before["rows"]


@contextlib.contextmanager
def locked_durable(platform: Platform) -> Iterator[None]:
    """Make every read of the durable store fail as one of a locked file does."""
    original = platform.services.durable
    with pytest.MonkeyPatch.context() as patch:
        for name in ("get", "positions", "versions", "scan"):
            patch.setattr(original, name, _fail_locked)
        yield


def _fail_locked(*_: object) -> Any:
    raise TryAgain("database is locked")


async def test_without_a_model_pages_are_popular_and_with_one_they_are_fresh_again(tmp_path: Path) -> None:
    async with running_platform(tmp_path, model=False) as platform:
        page = await platform.homepage()
        assert page["served"]["step"] == "popular"
        assert page["served"]["degraded"].startswith("model unavailable")
        assert titles_of(page)
        assert "model" in platform.services.problems()
        write_tiny_model(platform.services.blobs, platform.services.sql, list(platform.catalogue.values()), GENRES)
        await until(lambda: platform.services.models.current is not None)
        assert (await platform.homepage())["served"]["step"] == "fresh"


async def test_a_corrupt_champion_leaves_the_last_good_model_in_service(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        good = (await platform.homepage())["served"]["model_version"]
        titles = list(platform.catalogue.values())
        bad = write_tiny_model(platform.services.blobs, platform.services.sql, titles, GENRES, seed=5, alias=None)
        platform.services.blobs.path(bad).write_bytes(b"{}")
        with platform.services.sql.begin() as connection:
            connection.execute(sa.update(registry.model_aliases).values(version=bad))
        await until(lambda: platform.services.models.refusal is not None)
        served = (await platform.homepage("ben"))["served"]
        assert (served["step"], served["model_version"]) == ("fresh", good)


async def test_a_corrupt_model_at_the_start_is_the_reason_of_popular_pages(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        version = (await platform.homepage())["served"]["model_version"]
        path = platform.services.blobs.path(version)
    content = path.read_bytes()
    path.write_bytes(content[:100])
    async with running_platform(tmp_path, prepared=False) as platform:
        served = (await platform.homepage())["served"]
        assert served["step"] == "popular"
        assert "refused" in served["degraded"]


async def test_a_precomputed_page_is_better_than_a_popular_one(tmp_path: Path) -> None:
    async with running_platform(tmp_path, model=False) as platform:
        title = PageTitle("t1", "Title 1", 1990, ("Drama",), 1.0, 1.0, "computed last night")
        page = Page("ann", [Row("top_picks", "top_picks", "Top", "", 1.0, [title])], now_ms() - 1_000, "m0", 3, 5, None)
        value = page.computed_at_ms.to_bytes(8, "big") + msgspec.json.encode(page)
        platform.services.durable.put("precomputed", [StateEntry(b"ann", value)])
        served = await platform.homepage()
        assert (served["served"]["step"], served["served"]["model_version"]) == ("precomputed", "m0")
        assert served["served"]["degraded"].startswith("model unavailable")
        assert titles_of(served) == ["t1"]
        assert (await platform.homepage("ben"))["served"]["step"] == "popular"


@pytest.mark.parametrize("garbage", [b"", b"{", b'{"rows":3}', b"\xff\xfe", b'{"member_id":"\xff"}'])
async def test_a_precomputed_page_that_cannot_be_read_is_passed_over(tmp_path: Path, garbage: bytes) -> None:
    async with running_platform(tmp_path, model=False) as platform:
        platform.services.hot.put("precomputed", [StateEntry(b"ann", now_ms().to_bytes(8, "big") + garbage)])
        served = (await platform.homepage())["served"]
        assert served["step"] == "popular"
        assert served["degraded"].startswith("model unavailable")


async def test_a_corrupt_member_state_falls_down_the_ladder(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        platform.services.hot.put("member", [StateEntry(b"ann", (1 << 62).to_bytes(8, "big") + b"garbage")])
        served = (await platform.homepage())["served"]
        assert served["step"] == "popular"
        assert "state" in served["degraded"]


async def test_a_builder_that_fails_falls_down_the_ladder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_platform(tmp_path) as platform:
        cached = await platform.homepage("ann")
        monkeypatch.setattr(page_maker, "build_page", _raise)
        platform.act("ann", "t3")
        stale = await platform.homepage("ann")
        assert stale["served"]["step"] == "stale"
        assert stale["rows"] == cached["rows"]
        assert (await platform.homepage("ben"))["served"]["step"] == "popular"
        monkeypatch.setattr(page_maker, "popular_page", _raise)
        assert (await platform.homepage("cleo", device="web"))["rows"] == []


def _raise(*_: object) -> Page:
    raise ZeroDivisionError("a bug")


async def test_a_page_that_takes_too_long_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_platform(tmp_path, page_deadline_s=0.25) as platform:

        async def slow(*_: bytes) -> Any:
            await asyncio.sleep(0.4)

        monkeypatch.setattr(platform.services.homepage._states, "look", slow)
        served = (await platform.homepage())["served"]
        assert served["step"] == "popular"
        assert served["degraded"] == "deadline: no page within 250 ms"


async def test_pages_are_served_while_the_log_is_away_and_their_impressions_arrive_later(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        with away(tmp_path / "log"):
            pages = [await platform.homepage(member) for member in ("ann", "ben", "ann")]
            assert [page["served"]["step"] for page in pages] == ["fresh"] * 3
            await until(lambda: platform.services.impressions.problem is not None)
            refused = await platform.client.post("/v1/events", content=msgspec.json.encode(event_of("ann", "t1")))
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) >= 1
        await until(lambda: platform.services.impressions.problem is None)
        assert shown_in_log(platform) == {page["served"]["page_id"] for page in pages}
        accepted = await platform.client.post("/v1/events", content=msgspec.json.encode(event_of("ann", "t1")))
        assert accepted.status_code == 202


def shown_in_log(platform: Platform) -> set[str]:
    log = platform.services.log
    records = [
        record
        for partition in range(log.partition_count(IMPRESSIONS))
        for record in log.read(IMPRESSIONS, partition, 0, 10_000)
    ]
    return {impression.page_id for record in records for impression in showings_of(decode_impression(record.value))}


async def test_everything_at_once(tmp_path: Path) -> None:
    async with running_platform(tmp_path, model=False) as platform:
        with away(tmp_path / "hot"), away(tmp_path / "log"), locked_durable(platform), away(tmp_path / "marquee.db"):
            await asyncio.sleep(0.12)
            pages = [await platform.homepage(member) for member in ("ann", "nobody", "ann")]
            for page in pages:
                assert page["served"]["step"] == "popular"
                assert "hot store unavailable" in page["served"]["degraded"]
                assert "durable store unavailable" in page["served"]["degraded"]
                assert titles_of(page)
            assert {"hot", "log", "model"} <= set(platform.services.problems())
            assert (await platform.client.get("/readyz")).status_code == 503
            assert (await platform.client.get("/healthz")).status_code == 200
        await asyncio.sleep(0.12)
        write_tiny_model(platform.services.blobs, platform.services.sql, small_catalogue(), GENRES)
        await until(lambda: platform.services.problems() == {})
        await until(lambda: {page["served"]["page_id"] for page in pages} <= shown_in_log(platform))
        served = (await platform.homepage())["served"]
        assert (served["step"], served["degraded"]) == ("fresh", None)


async def test_an_application_over_an_empty_folder_serves_an_empty_page(tmp_path: Path) -> None:
    async with running_platform(tmp_path, prepared=False) as platform:
        page = await platform.homepage()
        assert page["rows"] == []
        assert page["served"]["step"] == "popular"
        assert "no titles are known" in page["served"]["degraded"]


async def test_pages_are_counted_by_step_and_reason(tmp_path: Path) -> None:
    async with running_platform(tmp_path, model=False) as platform:
        await platform.homepage()
        metrics = (await platform.client.get("/metrics")).text
        assert 'marquee_pages_served_total{cache="bypass",step="popular"}' in metrics
        assert 'marquee_pages_degraded_total{reason="model"}' in metrics
        assert 'marquee_page_seconds_count{cache="bypass"}' in metrics


async def test_the_time_to_build_a_page_is_measured(tmp_path: Path) -> None:
    def built() -> float:
        return REGISTRY.get_sample_value("marquee_page_build_seconds_count") or 0.0

    async with running_platform(tmp_path) as platform:
        before = built()
        for _ in range(2):
            await platform.homepage()
        assert built() == before + 1


async def test_events_sent_over_http_change_the_page(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        before = await platform.homepage()
        append_events(platform.services.log, [event_of("ann", "t7")])
        assert (await platform.homepage())["served"]["cache"] == "hit"
        platform.act("ann", "t8")
        after = await platform.homepage()
        assert after["served"]["feature_position"] - before["served"]["feature_position"] == 2
