"""What a load test does: each scenario is one question, asked at a fixed rate of arrivals."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from load_tests.background_events import background_events, new_event
from load_tests.client import Target
from load_tests.open_loop import MAX_LATENCY_US, Measured, Outcome, poisson_arrivals, run_open_loop
from streams.errors import FixRequest
from streams.event_log.open import open_event_log
from streams.topics import MEMBER_EVENTS

COUNTRIES = [a + b for a in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for b in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
DEVICES = ("tv", "phone", "web", "tablet")
HOT_MEMBERS = 50
"""So few that each is in the page cache after its first page."""
POLL_S = 0.004
CHANGE_TIMEOUT_S = 5.0
WARM_UP_S = 3.0
"""The process of the background events takes so long to start."""


@dataclass(frozen=True)
class Load:
    """How hard: arrivals a second, for how long; event_rate: member events a second beside them."""

    rate: float
    seconds: float
    event_rate: float = 200.0


Scenario = Callable[[Target, Load, random.Random], Awaitable[Measured]]


async def hits(target: Target, load: Load, rng: random.Random) -> Measured:
    """Homepages that are in the page cache."""
    members = target.members[:HOT_MEMBERS]
    await asyncio.gather(*(target.homepage(member) for member in members))
    return await run_open_loop(_arrivals(load, rng), lambda: target.homepage_outcome(rng.choice(members)))


async def misses(target: Target, load: Load, rng: random.Random) -> Measured:
    """Homepages that nobody has asked for: known members, each from ever another country and device."""
    keys = _distinct_keys(target, rng)
    return await run_open_loop(_arrivals(load, rng), lambda: target.homepage_outcome(*next(keys)))


async def mix(target: Target, load: Load, rng: random.Random) -> Measured:
    """Homepages as members come (few come often: Zipf), while events flow in and pages are renewed by them."""
    weights = [1.0 / (rank + 1) for rank in range(len(target.members))]
    cumulative = list(itertools.accumulate(weights))

    def member() -> str:
        return rng.choices(target.members, cum_weights=cumulative)[0]

    pages = run_open_loop(_arrivals(load, rng), lambda: target.homepage_outcome(member()))
    events = run_open_loop(_event_arrivals(load, rng), lambda: target.event_outcome(rng))
    measured, sent = await asyncio.gather(pages, events)
    measured.failed += sent.failed
    measured.unsent += sent.unsent
    measured.outcomes.update(sent.outcomes)
    return measured


async def change(target: Target, load: Load, rng: random.Random) -> Measured:
    """From an accepted event to that member's changed homepage, while `event_rate` other events a second flow in."""

    async def probe() -> float | None:
        member, item = rng.choice(target.members), rng.choice(target.items)
        return await target.change_after_event(member, item, poll_s=POLL_S, timeout_s=CHANGE_TIMEOUT_S)

    events = run_open_loop(_event_arrivals(load, rng), lambda: target.event_outcome(rng))
    probed, sent = await asyncio.gather(_changes(load, rng, probe), events)
    probed.outcomes.update(sent.outcomes)
    probed.failed += sent.failed
    probed.unsent += sent.unsent
    return probed


async def produced(target: Target, load: Load, rng: random.Random) -> Measured:
    """From an event on its way into the log, as any producer appends it, to that member's changed homepage, while
    `event_rate` others a second are appended. Raises FixRequest where the platform's log is not known."""
    if target.settings is None:
        raise FixRequest("--url", "leave it out: events are appended to the log of a platform started for the run")
    log = open_event_log(target.settings)

    async def probe() -> float | None:
        member, started_s = rng.choice(target.members), time.perf_counter()
        event = new_event(member, rng.choice(target.items), "play")
        [place] = await asyncio.to_thread(log.append, MEMBER_EVENTS, [event])
        return await target.change_since(started_s, member, place.offset, poll_s=POLL_S, timeout_s=CHANGE_TIMEOUT_S)

    with background_events(target.settings, target.members, target.items, load.event_rate):
        await asyncio.sleep(WARM_UP_S)
        measured = await _changes(load, rng, probe)
    log.close()
    return measured


async def _changes(load: Load, rng: random.Random, probe: Callable[[], Awaitable[float | None]]) -> Measured:
    """Return how long changes took, each as its probe says; one that never came counts as failed."""
    measured = Measured()

    async def outcome() -> Outcome:
        seconds = await probe()
        if seconds is not None:
            measured.histogram.record_value(min(int(seconds * 1e6), MAX_LATENCY_US))
        return Outcome("changed" if seconds is not None else "not changed", seconds is not None)

    probed = await run_open_loop(_arrivals(load, rng), outcome)
    measured.outcomes, measured.failed, measured.unsent = probed.outcomes, probed.failed, probed.unsent
    measured.seconds = probed.seconds
    return measured


SCENARIOS: dict[str, Scenario] = {"hits": hits, "misses": misses, "mix": mix, "change": change, "produced": produced}


def _arrivals(load: Load, rng: random.Random) -> Iterator[float]:
    return poisson_arrivals(load.rate, load.seconds, random.Random(rng.random()))


def _event_arrivals(load: Load, rng: random.Random) -> Iterator[float]:
    return poisson_arrivals(load.event_rate, load.seconds, random.Random(rng.random()))


def _distinct_keys(target: Target, rng: random.Random) -> Iterator[tuple[str, str, str]]:
    countries, devices, members = list(COUNTRIES), list(DEVICES), list(target.members)
    for order in (countries, devices, members):
        rng.shuffle(order)
    for country, device, member in itertools.cycle(itertools.product(countries, devices, members)):
        yield member, device, country
