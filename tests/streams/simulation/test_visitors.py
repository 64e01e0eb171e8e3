from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import islice

import msgspec
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from streams.errors import FixRequest, TryAgain
from streams.events import Event, decode_event
from streams.simulation.catalogue import generate_catalogue
from streams.simulation.report import Report, row_table, summary_lines
from streams.simulation.tastes import World
from streams.simulation.visitors import MAX_WAIT_S, Plan, Visitors, arrivals
from tests.streams.simulation.pages import page_of

TITLES = generate_catalogue(np.random.default_rng(1), 200)


@dataclass
class Platform:
    """Answers as the platform does: the same page for all, the pages numbered; refuses first, if asked to."""

    refusals: int = 0
    retry_after: str = "3"
    homepage_status: int = 200
    events: list[Event] = field(default_factory=list)
    members: list[str] = field(default_factory=list)

    async def homepage(self, request: web.Request) -> web.Response:
        if self.homepage_status != 200:
            return web.Response(status=self.homepage_status)
        if self.refusals:
            self.refusals -= 1
            return web.Response(status=503, headers={"Retry-After": self.retry_after})
        self.members.append(request.query["member_id"])
        body = msgspec.json.encode(page_of(TITLES, f"page{len(self.members)}"))
        return web.Response(body=body, content_type="application/json")

    async def take(self, request: web.Request) -> web.Response:
        batch = [decode_event(bytes(raw)) for raw in msgspec.json.decode(await request.read(), type=list[msgspec.Raw])]
        self.events += batch
        results = [{"event_id": event.event_id, "status": "accepted"} for event in batch[:-1]]
        results.append({"event_id": batch[-1].event_id, "status": "rejected", "reason": "bad-time"})
        return web.json_response({"accepted": len(batch) - 1, "rejected": 1, "results": results}, status=202)

    async def health(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def run(self, act: Callable[[str], Awaitable[Report]]) -> Report:
        app = web.Application()
        app.add_routes(
            [web.get("/homepage", self.homepage), web.post("/v1/events", self.take), web.get("/healthz", self.health)]
        )
        async with TestServer(app) as server:
            return await act(str(server.make_url("/")).rstrip("/"))


def simulate(platform: Platform, waits: list[float] | None = None, **plan: float) -> Report:
    async def sleep(seconds: float) -> None:
        if waits is not None:
            waits.append(seconds)
        await asyncio.sleep(0)

    async def act(url: str) -> Report:
        options = {"members": 20, "pages": 15, "workers": 1, **plan}
        visitors = Visitors(Plan(url, **options), World(), now_ms=lambda: 1_700_000_000_000, sleep=sleep)  # type: ignore[arg-type]  # numbers of either kind
        return await visitors.run()

    return asyncio.run(platform.run(act))


def test_members_see_served_pages_and_send_what_they_did() -> None:
    platform = Platform()
    report = simulate(platform)
    assert report.pages == len(platform.members) == 15
    assert report.accepted + sum(report.rejected.values()) == len(platform.events)
    assert {event.page_id for event in platform.events} <= {f"page{n}" for n in range(1, 16)}
    assert report.rows["top_picks"].shown == 150
    assert report.rejected["bad-time"] > 0
    assert not report.errors


def test_the_same_seed_and_pages_give_the_same_events() -> None:
    first, again, other = Platform(), Platform(), Platform()
    simulate(first)
    simulate(again)
    simulate(other, seed=2)
    assert first.events == again.events
    assert first.events != other.events


def test_retry_after_is_obeyed_and_bounded() -> None:
    waits: list[float] = []
    report = simulate(Platform(refusals=2), waits)
    assert (report.waits, report.pages) == (2, 15)
    assert waits.count(3.0) == 2
    waits.clear()
    simulate(Platform(refusals=1, retry_after="1e9"), waits)
    assert max(waits) == MAX_WAIT_S
    assert simulate(Platform(refusals=1, retry_after="soon")).pages == 15


def test_a_platform_that_refuses_for_ever_is_given_up_on() -> None:
    report = simulate(Platform(refusals=10_000), pages=2)
    assert (report.pages, report.errors["GET /homepage: status 503"]) == (0, 2)


def test_errors_are_counted_not_raised() -> None:
    report = simulate(Platform(homepage_status=500))
    assert report.errors["GET /homepage: status 500"] == 15


def test_a_platform_that_is_not_there_is_named() -> None:
    with pytest.raises(TryAgain, match=r"nothing answers at http://127\.0\.0\.1:9"):
        asyncio.run(Visitors(Plan("http://127.0.0.1:9", pages=1), World()).run())


def test_a_rate_lets_visits_arrive_at_their_times() -> None:
    visits = list(islice(arrivals(Plan("http://x", rate=50.0), World()), 2_000))
    gaps = np.diff([visit.at_s for visit in visits])
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.1)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.15)


def test_a_simulation_with_a_rate_makes_its_pages() -> None:
    assert simulate(Platform(), rate=2_000.0).pages == 15


def test_active_members_come_more_often() -> None:
    world = World()
    visits = [arrival.member for arrival in islice(arrivals(Plan("http://x", members=50), world), 5_000)]
    most = max((world.member(f"m{n:04d}") for n in range(1, 51)), key=lambda member: member.activity)
    assert sum(member.member_id == most.member_id for member in visits) > 2 * 5_000 / 50


@pytest.mark.parametrize(
    "options",
    [{"members": 0}, {"rate": 0.0}, {"pages": 0}, {"seconds": -1.0}, {"members": 10**6}, {"rate": float("nan")}],
)
def test_plans_have_bounds(options: dict[str, float]) -> None:
    with pytest.raises(FixRequest):
        Plan("http://x", **options)  # type: ignore[arg-type]  # numbers of either kind


def test_a_url_must_be_one() -> None:
    with pytest.raises(FixRequest, match="--url"):
        Plan("localhost:8000")


def test_a_report_of_nothing_can_be_printed() -> None:
    assert row_table(Report()).row_count == 0
    assert summary_lines(Report())[0].startswith("0 pages (none)")
