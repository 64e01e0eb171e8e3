from __future__ import annotations

import signal
import time
from pathlib import Path

import httpx
import msgspec
import pytest

from streams.event_log.open import open_event_log
from streams.events import encode_event
from streams.impressions import decode_impression, showings_of
from streams.topics import IMPRESSIONS, MEMBER_EVENTS
from tests.serving.platform import event_of, prepare, running_platform, serving_process, small_settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_readiness_says_what_is_missing_until_nothing_is(tmp_path: Path) -> None:
    async with running_platform(tmp_path / "empty", prepared=False) as platform:
        answer = await platform.client.get("/readyz")
        assert answer.status_code == 503
        assert set(answer.json()["problems"]) == {"catalogue", "model"}
    async with running_platform(tmp_path / "full") as platform:
        assert (await platform.client.get("/readyz")).status_code == 200


async def test_an_application_starts_over_a_log_that_cannot_be_opened(tmp_path: Path) -> None:
    settings = small_settings(tmp_path)
    prepare(settings)
    (tmp_path / "log").rename(tmp_path / "log.away")
    (tmp_path / "log").write_bytes(b"")
    async with running_platform(tmp_path, prepared=False) as platform:
        assert (await platform.homepage())["served"]["step"] == "fresh"
        assert "log" in platform.services.problems()
        (tmp_path / "log").unlink()
        (tmp_path / "log.away").rename(tmp_path / "log")
        answer = await platform.client.post("/v1/events", content=encode_event(event_of("ann", "t1")))
        assert answer.status_code == 202


async def test_two_applications_in_turn_share_a_process(tmp_path: Path) -> None:
    for prepared in (True, False):
        async with running_platform(tmp_path, prepared=prepared) as platform:
            assert (await platform.homepage())["served"]["step"] == "fresh"


def test_a_process_that_is_told_to_end_drains_its_queues_first(tmp_path: Path) -> None:
    settings = small_settings(tmp_path)
    prepare(settings)
    with serving_process(settings) as (process, url), httpx.Client(base_url=url) as client:
        pages = [client.get("/homepage", params={"member_id": member}).json() for member in ("ann", "ben", "ann")]
        events = [event_of("ann", f"t{n}") for n in range(20)]
        accepted = client.post("/v1/events", content=msgspec.json.encode(events)).json()
        started_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
        assert time.monotonic() - started_s < 10
    log = open_event_log(settings)
    shown = [
        impression.page_id
        for partition in range(4)
        for record in log.read(IMPRESSIONS, partition, 0, 100)
        for impression in showings_of(decode_impression(record.value))
    ]
    assert sorted(shown) == sorted(page["served"]["page_id"] for page in pages)
    for event, result in zip(events, accepted["results"], strict=True):
        record = log.read(MEMBER_EVENTS, result["partition"], result["offset"], 1)[0]
        assert msgspec.json.decode(record.value)["event_id"] == event.event_id
    log.close()


def test_what_was_accepted_survives_kill_9(tmp_path: Path) -> None:
    settings = small_settings(tmp_path)
    prepare(settings)
    with serving_process(settings) as (process, url):
        answer = httpx.post(f"{url}/v1/events", content=encode_event(event_of("ann", "t1")))
        process.kill()
        process.wait()
    place = answer.json()["results"][0]
    log = open_event_log(settings)
    assert len(log.read(MEMBER_EVENTS, place["partition"], place["offset"], 1)) == 1
    log.close()
