from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from serving import ingest as ingest_module
from serving.ingest import Ingest
from streams.errors import FixRequest, SlowDown, TryAgain
from streams.event_log.open import open_event_log
from streams.event_log.protocol import Appended, EventLog, Message
from streams.events import decode_event
from streams.topics import MEMBER_EVENTS
from tests.serving.platform import event_of, small_settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    log = open_event_log(small_settings(tmp_path))
    yield log
    log.close()


class Gated:
    """A log whose appends wait for a gate, and are noted; or fail."""

    def __init__(self, log: EventLog | None = None, error: Exception | None = None) -> None:
        self.log = log
        self.error = error
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.batches: list[int] = []

    def append(self, topic: str, messages: Sequence[Message]) -> list[Appended]:
        self.entered.set()
        self.gate.wait(5)
        self.batches.append(len(messages))
        if self.error is not None:
            raise self.error
        return self.log.append(topic, messages) if self.log else [Appended(0, n) for n in range(len(messages))]


def ingest_over(log: object, max_events: int = 1_000, batch_max: int = 100) -> Ingest:
    ingest = Ingest(log, max_events, batch_max)  # type: ignore[arg-type]  # only `append` is used
    ingest.start()
    return ingest


async def test_what_is_accepted_is_in_the_log_where_the_answer_says(log: EventLog) -> None:
    ingest = ingest_over(log)
    events = [event_of(f"m{n}", f"t{n}") for n in range(50)]
    places = await ingest.submit(events)
    for event, place in zip(events, places, strict=True):
        record = log.read(MEMBER_EVENTS, place.partition, place.offset, 1)[0]
        assert decode_event(record.value) == event
        assert record.key == event.member_id.encode()
    ingest.close(2)


async def test_callers_that_wait_share_an_append(log: EventLog) -> None:
    gated = Gated(log)
    ingest = ingest_over(gated)
    first = asyncio.create_task(ingest.submit([event_of("ann", "t1")]))
    await asyncio.to_thread(gated.entered.wait, 5)
    others = [asyncio.create_task(ingest.submit([event_of(f"m{n}", "t1")])) for n in range(20)]
    await asyncio.sleep(0)
    gated.gate.set()
    places = await asyncio.gather(first, *others)
    assert gated.batches == [1, 20]
    assert len({place for answer in places for place in answer}) == 21
    ingest.close(2)


async def test_a_batch_is_bounded_and_a_larger_submission_goes_alone() -> None:
    gated = Gated()
    ingest = ingest_over(gated, batch_max=10)
    first = asyncio.create_task(ingest.submit([event_of("ann", "t1")]))
    await asyncio.to_thread(gated.entered.wait, 5)
    sizes = [4, 4, 4, 25, 1]
    others = [asyncio.create_task(ingest.submit([event_of("ann", "t1")] * size)) for size in sizes]
    await asyncio.sleep(0)
    gated.gate.set()
    answers = await asyncio.gather(first, *others)
    assert gated.batches == [1, 8, 4, 25, 1]
    assert [len(answer) for answer in answers] == [1, *sizes]
    ingest.close(2)


async def test_a_full_queue_says_slow_down_and_takes_again_once_drained() -> None:
    gated = Gated()
    ingest = ingest_over(gated, max_events=5)
    first = asyncio.create_task(ingest.submit([event_of("ann", "t1")]))
    await asyncio.to_thread(gated.entered.wait, 5)
    waiting = asyncio.create_task(ingest.submit([event_of("ann", "t1")] * 5))
    await asyncio.sleep(0)
    with pytest.raises(SlowDown) as refused:
        await ingest.submit([event_of("ann", "t1")])
    assert 1 <= refused.value.retry_after_s <= 30
    gated.gate.set()
    await asyncio.gather(first, waiting)
    assert len(await ingest.submit([event_of("ann", "t1")])) == 1
    ingest.close(2)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SlowDown("full", 7.0), SlowDown),
        (TryAgain("away"), TryAgain),
        (FixRequest("topic", "unknown"), TryAgain),
        (OSError("no space left"), TryAgain),
    ],
)
async def test_what_the_log_says_reaches_each_caller(error: Exception, expected: type[Exception]) -> None:
    gated = Gated(error=error)
    gated.gate.set()
    ingest = ingest_over(gated)
    outcomes = await asyncio.gather(*(ingest.submit([event_of("ann", "t1")]) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [expected] * 3
    ingest.close(2)


async def test_the_thread_outlives_a_failing_log(log: EventLog) -> None:
    gated = Gated(log, error=TryAgain("away"))
    gated.gate.set()
    ingest = ingest_over(gated)
    with pytest.raises(TryAgain):
        await ingest.submit([event_of("ann", "t1")])
    gated.error = None
    assert len(await ingest.submit([event_of("ann", "t1")])) == 1
    ingest.close(2)


async def test_a_caller_that_gives_up_holds_up_nobody() -> None:
    gated = Gated()
    ingest = ingest_over(gated)
    first = asyncio.create_task(ingest.submit([event_of("ann", "t1")]))
    await asyncio.to_thread(gated.entered.wait, 5)
    gone, stays = (asyncio.create_task(ingest.submit([event_of("ann", "t1")])) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    gated.gate.set()
    assert len(await stays) == 1
    await first
    ingest.close(2)


async def test_closing_appends_what_is_queued_and_refuses_what_comes_later(log: EventLog) -> None:
    ingest = ingest_over(log)
    waiting = [asyncio.create_task(ingest.submit([event_of(f"m{n}", "t1")])) for n in range(10)]
    await asyncio.sleep(0)
    await asyncio.to_thread(ingest.close, 2)
    assert all(len(answer) == 1 for answer in await asyncio.gather(*waiting))
    with pytest.raises(TryAgain):
        await ingest.submit([event_of("ann", "t1")])


async def test_no_events_need_no_append() -> None:
    assert await Ingest(None, 10, 10).submit([]) == []  # type: ignore[arg-type]  # it must not be touched


async def test_a_log_that_hangs_is_waited_for_once_and_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_module, "INSTANT_S", 0.05)
    gated = Gated(error=TryAgain("no answer from the brokers"))
    ingest = ingest_over(gated)
    first = asyncio.create_task(ingest.submit([event_of("ann", "t1")]))
    await asyncio.to_thread(gated.entered.wait, 5)
    others = [asyncio.create_task(ingest.submit([event_of(f"m{n}", "t1")])) for n in range(20)]
    await asyncio.sleep(0.1)
    gated.gate.set()
    outcomes = await asyncio.gather(first, *others, return_exceptions=True)
    assert all(isinstance(outcome, TryAgain) for outcome in outcomes)
    assert gated.batches == [1], "those who waited behind it were answered with it"
    with pytest.raises(TryAgain, match="no answer from the brokers"):
        await ingest.submit([event_of("ann", "t1")])
    assert gated.batches == [1], "nobody waits for it now"
    gated.error = None
    await asyncio.sleep(0.55)
    assert await ingest.submit([event_of("ann", "t1")])
    assert len(await asyncio.gather(*(ingest.submit([event_of("ann", "t1")]) for _ in range(5)))) == 5
    ingest.close(2)
