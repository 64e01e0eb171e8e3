"""Pages while a rebuild changes over to new states: never without an answer, and none of the former ones is fresh."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from serving.generations import LOOK_S
from streams.rebuild.build import open_engines, rebuild
from streams.stores.generations import read_generations
from tests.serving.platform import running_platform

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_pages_go_on_through_a_rebuild_and_are_computed_from_the_new_states_after_it(tmp_path: Path) -> None:
    async with running_platform(tmp_path) as platform:
        before = await platform.homepage()
        assert (before["served"]["step"], (await platform.homepage())["served"]["cache"]) == ("fresh", "hit")
        with contextlib.ExitStack() as stack:
            engines = open_engines(platform.services.settings, stack)
            await asyncio.to_thread(rebuild, engines, ["features", "shown"], keep_old=True)
            while platform.services.generations.names.of.get("member") != "member@2":
                assert (await platform.homepage())["served"]["step"] == "fresh"
                await asyncio.sleep(0.05)
            for kind in ("member", "title", "title_shown"):  # what is left of the former states is not looked at
                engines.hot.drop(kind, 10_000)
                engines.durable.drop(kind, 10_000)
            await asyncio.sleep(LOOK_S * 1.5)
            after = await platform.homepage()
            assert read_generations(engines.durable).serving("features") == 2
        assert (after["served"]["step"], after["served"]["cache"]) == ("fresh", "miss")
        assert after["served"]["feature_position"] == before["served"]["feature_position"]
        assert [row["row_id"] for row in after["rows"]] == [row["row_id"] for row in before["rows"]]
