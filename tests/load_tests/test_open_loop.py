from __future__ import annotations

import asyncio
import random

import pytest

from load_tests import open_loop
from load_tests.open_loop import Outcome, poisson_arrivals, run_open_loop


def test_arrivals_come_at_the_asked_rate_and_in_order() -> None:
    arrivals = list(poisson_arrivals(200.0, 50.0, random.Random(3)))
    assert arrivals == sorted(arrivals)
    assert arrivals[0] > 0
    assert arrivals[-1] < 50.0
    assert len(arrivals) == pytest.approx(10_000, rel=0.05)


def test_arrivals_are_reproducible_by_seed() -> None:
    first, again, other = (list(poisson_arrivals(50.0, 5.0, random.Random(seed))) for seed in (1, 1, 2))
    assert first == again != other


def test_a_stalled_server_is_charged_for_every_request_that_was_due_meanwhile() -> None:
    """One stall of 200 ms in a server that answers one at a time: a closed loop would see one slow answer of many."""
    lock = asyncio.Lock()
    served = 0

    async def request() -> Outcome:
        nonlocal served
        async with lock:
            served += 1
            if served == 1:
                await asyncio.sleep(0.2)
        return Outcome("answered", True)

    measured = asyncio.run(run_open_loop(iter([i * 0.001 for i in range(100)]), request))
    assert measured.count == 100
    assert measured.percentile_ms(50) > 80
    assert measured.percentile_ms(100) >= 199


def test_requests_beyond_the_bound_are_counted_and_not_delayed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_loop, "MAX_IN_FLIGHT", 3)

    async def request() -> Outcome:
        await asyncio.sleep(0.05)
        return Outcome("answered", True)

    measured = asyncio.run(run_open_loop(iter([0.0] * 10), request))
    assert (measured.count, measured.unsent) == (3, 7)


def test_failures_and_kinds_are_counted() -> None:
    outcomes = iter([Outcome("fresh", True), Outcome("failed", False), Outcome("fresh", True)])

    async def request() -> Outcome:
        return next(outcomes)

    measured = asyncio.run(run_open_loop(iter([0.0, 0.0, 0.0]), request))
    assert measured.outcomes == {"fresh": 2, "failed": 1}
    assert measured.failed == 1


def test_nothing_to_do_measures_nothing() -> None:
    async def request() -> Outcome:
        raise AssertionError("nothing was due")

    measured = asyncio.run(run_open_loop(iter([]), request))
    assert measured.count == 0
    assert measured.percentile_ms(99) == 0
