"""An open-loop load generator: requests leave on a schedule, whether or not earlier ones were answered.

A closed loop waits for slow answers and so asks less of a slow server just when it should be measured (coordinated
omission; Tene, "How NOT to Measure Latency"). Here each latency counts from the moment the request was due.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from hdrh.histogram import HdrHistogram

MAX_LATENCY_US: Final = 60_000_000
"""A minute; longer is counted as this."""
SIGNIFICANT_DIGITS: Final = 3
MAX_IN_FLIGHT: Final = 2_000
"""Above this the generator itself is the bottleneck: further requests count as `unsent`, never silently delayed."""


@dataclass(frozen=True)
class Outcome:
    """What one request came to. kind: the class it is counted in; ok: whether it met its contract."""

    kind: str
    ok: bool


@dataclass
class Measured:
    """Latencies (microseconds, from the due time) and outcomes of one run."""

    histogram: HdrHistogram = field(default_factory=lambda: HdrHistogram(1, MAX_LATENCY_US, SIGNIFICANT_DIGITS))
    outcomes: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    unsent: int = 0
    seconds: float = 0.0

    @property
    def count(self) -> int:
        """Requests that were answered."""
        return int(self.histogram.get_total_count())

    def percentile_ms(self, percentile: float) -> float:
        """Return the latency that `percentile` % of the requests did not exceed, in ms; 0 for none."""
        return float(self.histogram.get_value_at_percentile(percentile)) / 1000.0


def poisson_arrivals(rate: float, seconds: float, rng: random.Random) -> Iterator[float]:
    """Yield arrival times in seconds from 0, independent of one another, `rate` a second on average."""
    at = rng.expovariate(rate)
    while at < seconds:
        yield at
        at += rng.expovariate(rate)


async def run_open_loop(arrivals: Iterator[float], request: Callable[[], Awaitable[Outcome]]) -> Measured:
    """Send `request()` at each arrival; return what was measured once all are answered."""
    measured = Measured()
    in_flight: set[asyncio.Task[None]] = set()
    started = time.perf_counter()
    for at in arrivals:
        wait_s = started + at - time.perf_counter()
        if wait_s > 0:
            await asyncio.sleep(wait_s)
        if len(in_flight) >= MAX_IN_FLIGHT:
            measured.unsent += 1
            continue
        task = asyncio.create_task(_send(request, started + at, measured))
        in_flight.add(task)
        task.add_done_callback(in_flight.discard)
    if in_flight:
        await asyncio.wait(in_flight)
    measured.seconds = time.perf_counter() - started
    return measured


async def _send(request: Callable[[], Awaitable[Outcome]], due: float, measured: Measured) -> None:
    outcome = await request()
    latency_us = int((time.perf_counter() - due) * 1e6)
    measured.histogram.record_value(min(max(latency_us, 1), MAX_LATENCY_US))
    measured.outcomes[outcome.kind] += 1
    measured.failed += not outcome.ok
