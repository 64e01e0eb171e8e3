"""Simulated members on a running platform: they fetch homepages, look at them, and send what they did."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import msgspec
import numpy as np

from streams.errors import FixRequest, TryAgain
from streams.events import Event
from streams.simulation.behaviour import Memory, SeenPage, clicks_by_row, visit
from streams.simulation.click_model import ClickModel
from streams.simulation.report import Report
from streams.simulation.tastes import Member, World, member_name

MAX_IN_FLIGHT: Final = 64
"""Visits at once; arrivals beyond it are dropped and counted, so that a slow platform is not asked ever more."""
MAX_ATTEMPTS: Final = 5
MAX_WAIT_S: Final = 30.0
"""A longer Retry-After is cut to this."""
TIMEOUT_S: Final = 10.0
ERROR_WAIT_S: Final = 0.5
"""After no answer at all, so that a platform that is starting again is not stormed."""
MAX_MEMBERS: Final = 100_000

_page_decoder = msgspec.json.Decoder(SeenPage)
_encoder = msgspec.json.Encoder()


class _Result(msgspec.Struct):
    status: str
    reason: str = ""


class _Answer(msgspec.Struct):
    results: list[_Result] = []


_answer_decoder = msgspec.json.Decoder(_Answer)


@dataclass(frozen=True)
class Plan:
    """What to simulate. rate: visits a second (Poisson arrivals), None for as fast as answers come. pages, seconds:
    where to stop, whichever comes first; None for no such bound."""

    url: str
    members: int = 200
    rate: float | None = None
    pages: int | None = None
    seconds: float | None = None
    seed: int = 1
    workers: int = 8

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise FixRequest("--url", f"{self.url!r} is not an address such as http://127.0.0.1:8000")
        bounds = (
            ("--members", self.members),
            ("--rate", self.rate),
            ("--pages", self.pages),
            ("--seconds", self.seconds),
        )
        for option, value in bounds:
            if value is not None and not value > 0:
                raise FixRequest(option, "it must be a number above 0")
        if self.members > MAX_MEMBERS:
            raise FixRequest("--members", f"at most {MAX_MEMBERS:,}")


@dataclass(frozen=True)
class Arrival:
    """A visit to come: whose, when (seconds from the start, 0 without a rate), and its own randomness."""

    member: Member
    at_s: float
    rng: np.random.Generator


def arrivals(plan: Plan, world: World) -> Iterator[Arrival]:
    """Yield visits, members by their activity; the same plan yields the same ones."""
    rng = np.random.default_rng(plan.seed)
    people = [world.member(member_name(index)) for index in range(plan.members)]
    shares = np.cumsum([person.activity for person in people])
    at_s, index = 0.0, 0
    while plan.pages is None or index < plan.pages:
        at_s += float(rng.exponential(1.0 / plan.rate)) if plan.rate else 0.0
        chosen = int(np.searchsorted(shares, rng.random() * shares[-1], side="right"))
        yield Arrival(people[chosen], at_s, np.random.default_rng([plan.seed, index]))
        index += 1


@dataclass
class Visitors:
    """Runs a plan against a platform; `report` grows as it goes."""

    plan: Plan
    world: World
    model: ClickModel = field(default_factory=ClickModel)
    report: Report = field(default_factory=Report)
    now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def __post_init__(self) -> None:
        self._memories: dict[str, Memory] = {}

    async def run(self) -> Report:
        """Simulate until the plan's bounds. Raises TryAgain when the platform cannot be reached at all."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=MAX_IN_FLIGHT)
        async with aiohttp.ClientSession(self.plan.url, timeout=timeout, connector=connector) as session:
            await self._check_reachable(session)
            paced = self._run_open(session) if self.plan.rate else self._run_closed(session)
            with contextlib.suppress(TimeoutError):  # the plan's time is over
                await asyncio.wait_for(paced, self.plan.seconds)
        return self.report

    async def _check_reachable(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get("/healthz"):
                return
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TryAgain(f"nothing answers at {self.plan.url} ({error}); start it with `marquee up`") from None

    async def _run_open(self, session: aiohttp.ClientSession) -> None:
        """Let visits arrive at their times, whether or not answers come."""
        started_s = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            in_flight: set[asyncio.Task[None]] = set()
            for arrival in arrivals(self.plan, self.world):
                await self.sleep(max(0.0, arrival.at_s - (time.perf_counter() - started_s)))
                if len(in_flight) >= MAX_IN_FLIGHT:
                    self.report.errors[f"visits left out: {MAX_IN_FLIGHT} others had no answer yet"] += 1
                    continue
                task = tasks.create_task(self.one_visit(session, arrival))
                in_flight.add(task)
                task.add_done_callback(in_flight.discard)

    async def _run_closed(self, session: aiohttp.ClientSession) -> None:
        """Let each worker make the next visit as soon as its last one is done."""
        queue = arrivals(self.plan, self.world)

        async def work() -> None:
            for arrival in queue:
                await self.one_visit(session, arrival)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(self.plan.workers):
                tasks.create_task(work())

    async def one_visit(self, session: aiohttp.ClientSession, arrival: Arrival) -> None:
        """Fetch a homepage as a member, act on it, send the events."""
        member = arrival.member
        query = {"member_id": member.member_id, "country": member.country, "device": member.device}
        started_s = time.perf_counter()
        body = await self._ask(session, "GET", "/homepage", params=query)
        if body is None:
            return
        self.report.page_ms.append(1000 * (time.perf_counter() - started_s))
        try:
            page = _page_decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self.report.errors[f"homepage cannot be read: {error}"] += 1
            return
        memory = self._memories.setdefault(member.member_id, Memory())
        events, looks = visit(page, member, memory, self.world, self.model, self.now_ms(), arrival.rng)
        self.report.pages += 1
        self.report.steps[page.served.step] += 1
        self.report.add_rows(clicks_by_row(page, looks))
        if events:
            await self._send(session, events)

    async def _send(self, session: aiohttp.ClientSession, events: list[Event]) -> None:
        body = await self._ask(
            session, "POST", "/v1/events", data=_encoder.encode(events), headers={"content-type": "application/json"}
        )
        if body is None:
            return
        results = _answer_decoder.decode(body).results
        for event, result in zip(events, results, strict=False):
            if result.status == "accepted":
                self.report.accepted += 1
                self.report.events[event.type] += 1
            else:
                self.report.rejected[result.reason] += 1

    async def _ask(self, session: aiohttp.ClientSession, method: str, path: str, **options: Any) -> bytes | None:
        """Return the body of a 2xx answer; wait and ask again when told to; None (and an error counted) otherwise."""
        for _ in range(MAX_ATTEMPTS):
            try:
                async with session.request(method, path, **options) as response:
                    body = await response.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                self.report.errors[f"{method} {path}: {type(error).__name__}"] += 1
                await self.sleep(ERROR_WAIT_S)
                return None
            if response.status < 300:
                return body
            if response.status not in (429, 503):
                break
            self.report.waits += 1
            await self.sleep(_retry_after_s(response.headers.get("Retry-After")))
        self.report.errors[f"{method} {path}: status {response.status}"] += 1
        return None


def _retry_after_s(header: str | None) -> float:
    """Return the wait asked for in seconds, within bounds; 1 when there is none that can be read."""
    try:
        wait_s = float(header or 1.0)
    except ValueError:
        return 1.0
    return min(max(wait_s, 0.0), MAX_WAIT_S) if wait_s == wait_s else 1.0
