from __future__ import annotations

import asyncio

import pytest

from serving.homepage.single_flight import SingleFlight
from streams.errors import SlowDown, TryAgain

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Work:
    """A computation that ends when it is told to, and counts how often it began."""

    def __init__(self) -> None:
        self.begun = 0
        self.finish = asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        await self.finish.wait()
        return self.begun


async def test_concurrent_misses_of_a_key_compute_once() -> None:
    flights: SingleFlight[str, int] = SingleFlight(10)
    work = Work()
    waiting = [asyncio.create_task(flights.run("k", work)) for _ in range(50)]
    await asyncio.sleep(0)
    work.finish.set()
    assert await asyncio.gather(*waiting) == [1] * 50
    assert await flights.run("k", work) == 2
    assert len(flights) == 0


async def test_a_computation_that_has_just_ended_is_not_joined() -> None:
    flights: SingleFlight[str, int] = SingleFlight(10)
    work = Work()
    first = asyncio.create_task(flights.run("k", work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert work.begun == 1
    work.finish.set()  # wakes the computation in the next turn of the loop; what follows comes right after it
    second = asyncio.create_task(flights.run("k", work))
    assert await asyncio.gather(first, second) == [1, 2]
    assert len(flights) == 0


async def test_a_failure_is_shared_and_forgotten() -> None:
    flights: SingleFlight[str, int] = SingleFlight(10)
    attempts = 0

    async def fail() -> int:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0)
        raise TryAgain("away")

    outcomes = await asyncio.gather(*(flights.run("k", fail) for _ in range(5)), return_exceptions=True)
    assert attempts == 1
    assert all(isinstance(outcome, TryAgain) for outcome in outcomes)
    with pytest.raises(TryAgain):
        await flights.run("k", fail)
    assert attempts == 2


async def test_who_gives_up_leaves_the_computation_to_the_others() -> None:
    flights: SingleFlight[str, int] = SingleFlight(10)
    work = Work()
    first, second = (asyncio.create_task(flights.run("k", work)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    work.finish.set()
    assert await second == 1
    assert first.cancelled()


async def test_a_failure_that_nobody_waits_for_any_more_makes_no_noise() -> None:
    flights: SingleFlight[str, int] = SingleFlight(10)
    release = asyncio.Event()

    async def fail() -> int:
        await release.wait()
        raise TryAgain("away")

    waiting = asyncio.create_task(flights.run("k", fail))
    await asyncio.sleep(0)
    waiting.cancel()
    release.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(flights) == 0


async def test_computations_are_bounded_in_number() -> None:
    flights: SingleFlight[int, int] = SingleFlight(2)
    work = Work()
    waiting = [asyncio.create_task(flights.run(key, work)) for key in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(SlowDown):
        await flights.run(3, work)
    work.finish.set()
    await asyncio.gather(*waiting)
    await flights.run(3, work)


async def test_closing_waits_for_what_runs_and_then_cancels_it() -> None:
    flights: SingleFlight[int, int] = SingleFlight(2)
    work = Work()
    waiting = asyncio.create_task(flights.run(1, work))
    await asyncio.sleep(0)
    await flights.close(0.01)
    with pytest.raises(asyncio.CancelledError):
        await waiting
