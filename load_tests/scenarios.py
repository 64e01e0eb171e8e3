"""What a load test does: each scenario is one question, asked at a fixed rate of arrivals."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from load_tests.client import Target
from load_tests.open_loop import MAX_LATENCY_US, Measured, Outcome, poisson_arrivals, run_open_loop

COUNTRIES = [a + b for a in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for b in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"]
DEVICES = ("tv", "phone", "web", "tablet")
HOT_MEMBERS = 50
"""So few that each is in the page cache after its first page."""
POLL_S = 0.004
CHANGE_TIMEOUT_S = 5.0


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
    measured = Measured()

    async def probe() -> Outcome:
        seconds = await target.change_after_event(
            rng.choice(target.members), rng.choice(target.items), poll_s=POLL_S, timeout_s=CHANGE_TIMEOUT_S
        )
        if seconds is not None:
            measured.histogram.record_value(min(int(seconds * 1e6), MAX_LATENCY_US))
        return Outcome("changed" if seconds is not None else "not changed", seconds is not None)

    probes = run_open_loop(_arrivals(load, rng), probe)
    events = run_open_loop(_event_arrivals(load, rng), lambda: target.event_outcome(rng))
    probed, sent = await asyncio.gather(probes, events)
    measured.outcomes = probed.outcomes + sent.outcomes
    measured.failed, measured.unsent = probed.failed + sent.failed, probed.unsent + sent.unsent
    measured.seconds = probed.seconds
    return measured


SCENARIOS: dict[str, Scenario] = {"hits": hits, "misses": misses, "mix": mix, "change": change}


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
