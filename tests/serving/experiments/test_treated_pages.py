"""Pages under running experiments: made as the variant says, marked where they could not be, and replayed exactly."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.models.manifest import decode_manifest
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog
from streams.experiments.definition import Experiment, Patch, Rule, Span
from streams.impressions import Exposure, decode_exposure
from streams.stores.sql import open_sql
from streams.topics import EXPOSURES
from tests.serving.experiments.running import experiment, write_defaults, write_experiment
from tests.serving.platform import (
    GENRES,
    MEMBERS,
    Platform,
    prepare,
    running_platform,
    serving_process,
    small_settings,
)
from tests.serving.tiny_model import write_tiny_model

pytestmark = pytest.mark.anyio

LIVE_S = 8.0
"""Definitions reach pages within 5 s; a busy machine may take a little longer."""


async def until(condition: Callable[[], bool], timeout_s: float = LIVE_S) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come about in time"
        await asyncio.sleep(0.02)


async def start(platform: Platform, *experiments: Experiment) -> None:
    """Have experiments run, and wait until pages know."""
    before = platform.services.experiments.current
    for one in experiments:
        write_experiment(platform.services.sql, one)
    await until(lambda: platform.services.experiments.current is not before)


def candidate(platform: Platform, alias: str | None = "candidate", seed: int = 9) -> str:
    titles = list(platform.catalogue.values())
    return write_tiny_model(platform.services.blobs, platform.services.sql, titles, GENRES, alias=alias, seed=seed)


async def loaded(platform: Platform, name: str) -> None:
    await until(lambda: name in platform.services.models.versions)


async def by_variant(platform: Platform, name: str = "exp") -> dict[str, dict[str, Any]]:
    """Return a page of a member in each variant."""
    found: dict[str, dict[str, Any]] = {}
    for number in itertools.count():
        page = await platform.homepage(f"m{number}")
        found.setdefault(page["served"]["variants"][name], page)
        if len(found) == 2:
            return found
    raise AssertionError


def exposures(log: EventLog) -> list[Exposure]:
    return [
        decode_exposure(record.value)
        for partition in range(log.partition_count(EXPOSURES))
        for record in log.read(EXPOSURES, partition, 0, 100_000)
    ]


async def recomputed(platform: Platform, page: dict[str, Any]) -> dict[str, Any]:
    answer = await platform.client.get(f"/v1/pages/{page['served']['page_id']}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_two_models_make_different_pages_and_no_page_of_one_is_served_for_the_other(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        version = candidate(platform)
        arms = {
            arm: experiment(Patch(model="candidate"), forced={"ann": arm}, revision=n)
            for n, arm in enumerate("abab", 1)
        }
        await start(platform, arms["b"])
        await loaded(platform, "candidate")
        treated = await platform.homepage()
        assert (treated["served"]["variants"], treated["served"]["model_version"]) == ({"exp": "b"}, version)
        assert treated["served"]["degraded"] is None
        assert (await platform.homepage())["served"]["cache"] == "hit"
        await start(platform, arms["a"])
        control = await platform.homepage()
        assert (control["served"]["variants"], control["served"]["cache"]) == ({"exp": "a"}, "miss")
        assert control["served"]["model_version"] == platform.services.models.versions["champion"] != version
        assert control["rows"] != treated["rows"]
        await start(platform, arms["b"])
        again = await platform.homepage()
        assert (again["served"]["cache"], again["rows"]) == ("hit", treated["rows"])
        assert again["served"]["variants"] == {"exp": "b"}


async def test_members_are_halved_and_each_arm_is_served_by_its_model(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        version = candidate(platform, alias=None)
        await start(platform, experiment(Patch(model=version)))
        await loaded(platform, version)
        pages = await by_variant(platform)
        champion = platform.services.models.versions["champion"]
        assert {arm: page["served"]["model_version"] for arm, page in pages.items()} == {"a": champion, "b": version}
        first = pages["b"]["served"]["page_id"]
        impression = (await recomputed(platform, pages["b"]))["as_served"]
        assert (impression["variants"], impression["model_version"]) == ({"exp": "b"}, version)
        repeat = (await platform.homepage(pages["b"]["member_id"]))["served"]["page_id"]
        found = platform.services.impressions.find(repeat)
        assert found is not None
        assert (found.origin_page_id, found.variants) == (first, {"exp": "b"})


async def test_growing_traffic_reaches_pages_and_moves_nobody(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        await start(platform, experiment(spans=(Span(0, 2**63),)))
        members = [f"m{number}" for number in range(24)]
        before = {member: (await platform.homepage(member))["served"]["variants"] for member in members}
        await start(platform, experiment(revision=2))
        after = {member: (await platform.homepage(member))["served"]["variants"] for member in members}
        assert {} in before.values()
        assert all(variants in ({}, after[member]) for member, variants in before.items())
        assert all(after.values())


async def test_targeting_looks_at_country_and_device(tmp_path: Path) -> None:
    rules = (Rule("country", "in", ("NL",)), Rule("device", "not_in", ("tv",)))
    async with running_platform(tmp_path) as platform:
        await start(platform, experiment(targeting=rules))
        assert (await platform.homepage(country="nl"))["served"]["variants"]
        assert not (await platform.homepage(country="nl", device="tv"))["served"]["variants"]
        assert not (await platform.homepage(country="BE"))["served"]["variants"]


PATCHES = [
    Patch(rows=("top_picks", "trending", "genre")),
    Patch(row_weights={"explore": 1_000.0}),
    Patch(params={"row_size": 6.0, "genre_rows": 1.0}),
    Patch(model="candidate", rows=("top_picks", "explore"), params={"explore_new_share": 0.25}),
]


@pytest.mark.parametrize("patch", PATCHES)
async def test_a_patched_page_is_what_it_says_and_is_replayed_bit_for_bit(tmp_path: Path, patch: Patch) -> None:
    async with running_platform(tmp_path) as platform:
        candidate(platform)
        plain = await platform.homepage()
        await start(platform, experiment(patch, forced={"ann": "b"}))
        if patch.model:
            await loaded(platform, patch.model)
        page = await platform.homepage()
        kinds = [row["kind"] for row in page["rows"]]
        assert page["rows"] != plain["rows"]
        if patch.rows is not None:
            assert set(kinds) <= set(patch.rows)
        if patch.row_weights is not None:
            assert kinds[0] == "explore"
        if patch.params is not None and "row_size" in patch.params:
            assert max(len(row["items"]) for row in page["rows"] if row["kind"] in ("top_picks", "genre")) == 6
        again = await recomputed(platform, page)
        assert (again["recomputed"]["equal"], again["recomputed"]["problem"]) == (True, None)
        assert again["recomputed"]["rows"] == page["rows"]
        item_id = page["rows"][0]["items"][0]["item_id"]
        page_id = page["served"]["page_id"]
        answer = await platform.client.get(f"/v1/pages/{page_id}", params={"item_id": item_id})
        assert answer.json()["explanation"]["status"] == "shown"
        assert (await recomputed(platform, plain))["recomputed"]["equal"]


async def test_a_patched_ttl_is_the_pages(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        await start(platform, experiment(Patch(page_ttl_s=0.05), forced={"ann": "b", "ben": "a"}))
        for member in ("ann", "ben"):
            await platform.homepage(member)
        await asyncio.sleep(0.06)
        caches = [(await platform.homepage(member))["served"]["cache"] for member in ("ann", "ben")]
        assert caches == ["miss", "hit"]


async def test_what_was_shipped_is_on_everybodys_page_at_once(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        before = await platform.homepage()
        seen = platform.services.experiments.current
        write_defaults(platform.services.sql, Patch(params={"row_size": 5.0}), 1)
        await until(lambda: platform.services.experiments.current is not seen)
        after = await platform.homepage()
        assert (after["served"]["cache"], after["served"]["variants"]) == ("miss", {})
        assert max(len(row["items"]) for row in after["rows"] if row["kind"] == "genre") == 5
        assert before["rows"] != after["rows"]
        assert (await recomputed(platform, after))["recomputed"]["equal"]


async def test_a_model_that_is_refused_for_one_arm_is_stood_in_for_and_said_so(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        version = candidate(platform, alias=None)
        blobs = platform.services.blobs
        path = blobs.path(decode_manifest(blobs.get(version)).files["model.onnx"])
        sound = path.read_bytes()
        path.write_bytes(sound[:-1] + b"!")
        await start(platform, experiment(Patch(model=version), forced={"ann": "b", "ben": "a"}))
        await until(lambda: version in platform.services.models.refusals)
        champion = platform.services.models.versions["champion"]
        for cache in ("miss", "hit"):
            served = (await platform.homepage("ann"))["served"]
            assert (served["step"], served["cache"], served["model_version"]) == ("fresh", cache, champion)
            assert served["degraded"].startswith(f"model {version[:12]} unavailable, the champion stands in")
        assert (await platform.homepage("ben"))["served"]["degraded"] is None
        path.write_bytes(sound)
        await loaded(platform, version)
        served = (await platform.homepage("ann"))["served"]
        assert (served["cache"], served["model_version"], served["degraded"]) == ("miss", version, None)
        log = platform.services.log
        await until(lambda: len(exposures(log)) == 3)
        steps = sorted((one.member_id, one.variant, one.step) for one in exposures(log))
        assert steps == [("ann", "b", "fallback"), ("ann", "b", "fresh"), ("ben", "a", "fresh")]
        assert all(one.forced for one in exposures(log))


async def test_pages_below_the_top_of_the_ladder_are_marked_in_their_exposures(tmp_path: Path) -> None:
    async with running_platform(tmp_path, model=False) as platform:
        await start(platform, experiment(Patch(rows=("trending",))))
        page = await platform.homepage("ann", country="NL", device="tv")
        assert page["served"]["step"] == "popular"
        assert page["served"]["variants"].keys() == {"exp"}
        await until(lambda: len(exposures(platform.services.log)) == 1)
        (one,) = exposures(platform.services.log)
        assert (one.step, one.country, one.device, one.page_id) == ("popular", "NL", "tv", page["served"]["page_id"])
        assert (await recomputed(platform, page))["recomputed"]["equal"]


async def test_assignments_outlive_the_database_and_a_restart_without_it(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        await start(platform, experiment(Patch(params={"row_size": 5.0})))
        variants = {member: (await platform.homepage(member))["served"]["variants"] for member in MEMBERS}
        assert all(variants.values())
        platform.services.sql.dispose()
        for path in tmp_path.glob("marquee.db*"):
            shutil.move(path, path.with_name(path.name + ".away"))
        (tmp_path / "marquee.db").write_bytes(b"no database" * 1_000)
        await until(lambda: platform.services.experiments.problem is not None)
        assert "experiments" in platform.services.problems()
        assert variants == {member: (await platform.homepage(member))["served"]["variants"] for member in MEMBERS}
    async with running_platform(tmp_path, prepared=False) as platform:
        assert variants == {member: (await platform.homepage(member))["served"]["variants"] for member in MEMBERS}


def test_exposures_survive_a_kill_and_nobody_who_comes_back_is_missed(tmp_path: Path) -> None:
    settings = small_settings(tmp_path)
    prepare(settings)
    sql = open_sql(settings)
    write_experiment(sql, experiment())
    sql.dispose()
    log = open_event_log(settings)
    members = [f"m{number}" for number in range(60)]
    pages: set[str] = set()

    def visit(url: str, who: list[str]) -> None:
        with httpx.Client(base_url=url) as client:
            for member in who:
                pages.add(client.get("/homepage", params={"member_id": member}).json()["served"]["page_id"])

    with serving_process(settings) as (process, url):
        visit(url, members[:40])
        deadline_s = time.monotonic() + 10
        while not exposures(log):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        visit(url, members[40:])
        process.kill()
        process.wait()
    acknowledged = exposures(log)
    assert {one.member_id for one in acknowledged} >= {members[0]}
    assert {one.page_id for one in acknowledged} <= pages
    with serving_process(settings) as (process, url):
        visit(url, members)
        process.terminate()
        process.wait(20)
    found = exposures(log)
    assert {one.member_id for one in found} == set(members)
    assert {one.page_id for one in found} <= pages
    variants = {(one.member_id, one.variant) for one in found}
    assert len(variants) == len(members)
    log.close()
