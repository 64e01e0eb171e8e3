"""The title board over a Redis: it reads what changed, and everything when that cannot be told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import redis

from streams.features.title import TITLE
from streams.stores.protocol import StateEntry
from tests.engines import RedisServer
from tests.serving.homepage.test_service import until
from tests.serving.platform import Platform, running_platform

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def features_of(platform: Platform, item_id: str) -> list[float]:
    snapshot = platform.services.titles.current
    return [float(value) for value in snapshot.features[snapshot.order.rows[item_id]]]


async def test_only_changed_states_are_read_until_it_cannot_be_told_which_those_are(
    redis_server: Callable[[], RedisServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = redis_server()
    async with running_platform(tmp_path, hot_url=server.url) as platform:
        hot, board = platform.services.hot, platform.services.titles
        await until(lambda: platform.services.live.problem is None)
        scans, scan = [], hot.scan

        def counted(kind: str) -> Iterator[tuple[bytes, bytes]]:
            scans.append(kind)
            return scan(kind)

        monkeypatch.setattr(hot, "scan", counted)
        await asyncio.sleep(3 * platform.settings.title_refresh_s)  # it was not connected at first
        scanned, before = len(scans), features_of(platform, "t3")
        platform.act("ann", "t3")
        await until(lambda: features_of(platform, "t3") != before)
        assert len(scans) == scanned, "a state that changed was read by itself"

        at_best, states = board.current.features.copy(), list(scan(TITLE.name))
        with redis.Redis.from_url(server.url) as client:
            client.flushall()
        await until(lambda: len(scans) > scanned)
        older = [StateEntry(key, (1).to_bytes(8, "big") + value[8:]) for key, value in states]
        hot.put(TITLE.name, older)
        server.kill()
        await until(lambda: board.problem is not None)
        server.start()
        await until(lambda: board.problem is None and platform.services.live.problem is None)
        platform.act("ben", "t5")
        row = board.current.order.rows["t5"]
        await until(lambda: features_of(platform, "t5") != [float(value) for value in at_best[row]])
        same = [other for other in range(len(at_best)) if other != row]
        assert np.array_equal(board.current.features[same], at_best[same]), "no state went back"
