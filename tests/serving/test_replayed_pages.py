"""Every page that was made for somebody or for all is computed again from its impression, bit for bit."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from streams.catalogue import Title, publish_titles
from tests.serving.homepage.test_service import away, until
from tests.serving.platform import GENRES, Platform, now_ms, running_platform
from tests.serving.tiny_model import write_tiny_model

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def replayed(platform: Platform, page: dict[str, Any]) -> dict[str, Any]:
    """Return a page computed again; what was served of it is what its impression says."""
    answer = await platform.client.get(f"/v1/pages/{page['served']['page_id']}")
    assert answer.status_code == 200, answer.text
    replay: dict[str, Any] = answer.json()
    shown = [(row["row_id"], [item[0] for item in row["items"]]) for row in replay["as_served"]["rows"]]
    assert shown == [(row["row_id"], [item["item_id"] for item in row["items"]]) for row in page["rows"]]
    again: dict[str, Any] = replay["recomputed"]
    return again


async def test_fresh_pages_are_replayed_exactly_whatever_came_after_them(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        pages = [await platform.homepage(member) for member in ("ann", "ann", "nobody", "nobody")]
        pages.append(await platform.homepage("ben", country="NL", device="tv"))
        with away(tmp_path / "hot"):
            await asyncio.sleep(0.12)
            pages += [await platform.homepage(member) for member in ("cleo", "ann", "somebody")]
        assert [page["served"]["degraded"] is None for page in pages] == [True] * 5 + [False] * 3
        await asyncio.sleep(0.12)
        publish_titles(platform.services.sql, [Title("new", "New", 2026, ("Western",))], now_ms() - 5_000)
        await until(lambda: "new" in platform.services.titles.current.order.rows)
        pages.append(await platform.homepage("dai"))
        platform.act("ann", "t3")
        pages.append(await platform.homepage("ann"))
        titles = list(platform.catalogue.values())
        version = write_tiny_model(platform.services.blobs, platform.services.sql, titles, GENRES, seed=9)
        await until(lambda: getattr(platform.services.models.current, "version", None) == version)
        pages.append(await platform.homepage("ann"))
        assert {page["served"]["step"] for page in pages} == {"fresh"}
        for page in pages:
            again = await replayed(platform, page)
            assert (again["equal"], again["problem"], again["differences"]) == (True, None, [])


async def test_popular_pages_are_replayed_exactly(tmp_path: Path) -> None:
    async with running_platform(tmp_path, model=False) as platform:
        pages = [await platform.homepage(member) for member in ("ann", "ben")]
        assert pages[0]["rows"] == pages[1]["rows"], "both are the one kept for a second"
        for page in pages:
            assert page["served"]["step"] == "popular"
            again = await replayed(platform, page)
            assert (again["equal"], again["problem"]) == (True, None)
