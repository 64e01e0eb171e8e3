"""A log without room: events are refused with an answer to wait for, homepages go on, and nothing shown is lost."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.serving.platform import Platform, now_ms, running_platform

pytestmark = pytest.mark.anyio

SMALL_LOG_BYTES = 1 << 20
PAGES = 120
BATCH = 50


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def batch(number: int) -> list[dict[str, Any]]:
    padding = {f"k{n}": "x" * 200 for n in range(20)}
    return [
        {
            "event_id": f"full-{number}-{n}",
            "type": "play",
            "member_id": f"m{n}",
            "item_id": "t1",
            "event_time_ms": now_ms(),
            "context": padding,
        }
        for n in range(BATCH)
    ]


async def fill(platform: Platform) -> tuple[int, Any]:
    """Send batches until one is refused; return how many were taken, and the refusal."""
    for number in range(100):
        answer = await platform.client.post("/v1/events", json=batch(number))
        if answer.status_code != 202:
            return number, answer
    raise AssertionError("a log of a megabyte took far more than that")


async def test_a_full_log_refuses_events_and_keeps_what_was_shown_until_there_is_room(tmp_path: Path) -> None:
    async with running_platform(tmp_path, log_max_bytes=SMALL_LOG_BYTES) as platform:
        taken, refusal = await fill(platform)
        assert refusal.status_code in (429, 503)
        assert int(refusal.headers["retry-after"]) >= 1
        log = platform.services.log
        ends = [log.end_offset("member-events", n) for n in range(log.partition_count("member-events"))]
        assert sum(ends) == taken * BATCH + 72, "a refused batch leaves nothing behind"
        pages = [await platform.homepage("ann", country=f"{chr(65 + n // 26)}{chr(65 + n % 26)}") for n in range(PAGES)]
        assert {page["served"]["step"] for page in pages} == {"fresh"}
    assert (tmp_path / "impressions.spool").stat().st_size > 0, "the log of impressions was never full"
    async with running_platform(tmp_path, prepared=False, log_max_bytes=64 << 20) as platform:
        assert (await platform.client.post("/v1/events", json=batch(101))).status_code == 202
        for page in pages:
            await found(platform, page["served"]["page_id"])


async def found(platform: Platform, page_id: str) -> None:
    """Return once a page can be asked for: what was spooled is appended after the start."""
    deadline_s = time.monotonic() + 10
    while (await platform.client.get(f"/v1/pages/{page_id}")).status_code != 200:
        assert time.monotonic() < deadline_s, f"page {page_id} is lost"
        await asyncio.sleep(0.05)
