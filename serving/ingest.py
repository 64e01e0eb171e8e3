"""Ingest: events from HTTP into the log, many callers' in one append.

Callers add to a bounded queue; a thread takes all that is waiting, appends it in one call (one wait for the disk), and
answers each. While it waits for the disk, the next batch gathers: the busier, the larger. An answer means that the
events are durably appended.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from serving import metrics
from serving.homepage.circuit_breaker import BreakerPolicy, CircuitBreaker
from streams.errors import MarqueeError, SlowDown, TryAgain
from streams.event_log.protocol import Appended, EventLog, Message
from streams.events import Event, encode_event
from streams.topics import MEMBER_EVENTS

logger = logging.getLogger(__name__)

MIN_RETRY_S: Final = 1.0
MAX_RETRY_S: Final = 30.0
RATE_SMOOTHING: Final = 0.2
"""The share of the newest append in the drain rate that Retry-After is taken from."""

INSTANT_S: Final = 0.25
"""A log that fails sooner is asked again for each batch: its recovery is seen at once. One that hangs is left alone for
a while, or each caller would wait for its timeout, and all who come after."""

HANG_S: Final = 2.0
"""An append that takes longer lets nobody else wait behind it."""

ANSWER_S: Final = 5.0
"""How long a caller waits at most."""

HANGING: Final = BreakerPolicy(failures=1, first_open_s=0.5, max_open_s=2.0)


class Accepted(NamedTuple):
    """Where an event lies in the `member-events` topic."""

    partition: int
    offset: int


@dataclass(eq=False)
class _Submission:
    """One caller's events, and how to answer it."""

    messages: list[Message]
    future: asyncio.Future[list[Accepted]]


class Ingest:
    """A bounded queue before the log. `submit` belongs to one event loop."""

    def __init__(self, log: EventLog, max_events: int, batch_max: int) -> None:
        """max_events: waiting at most; batch_max: taken at once (a single larger submission goes alone)."""
        self._log = log
        self._max_events = max_events
        self._batch_max = batch_max
        self._queue: deque[_Submission] = deque()
        self._waiting = 0
        self._events_per_s = 0.0
        self._appending_since_s: float | None = None
        self._breaker = CircuitBreaker(HANGING)
        """The event loop's."""
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)

    def start(self) -> None:
        """Start the appending thread."""
        self._thread.start()

    async def submit(self, events: Sequence[Event]) -> list[Accepted]:
        """Append events, all or none; return the place of each, in their order, once they are durable.

        Raises SlowDown when the queue or the log is full, TryAgain when the log cannot be written. A caller that gives
        up may find its events appended all the same: a retry carries the same event ids, and counts once.
        """
        if not events:
            return []
        self._check_log(len(events))
        messages = [Message(event.member_id.encode(), encode_event(event)) for event in events]
        submission = _Submission(messages, asyncio.get_running_loop().create_future())
        with self._changed:
            self._admit(len(messages))
            self._queue.append(submission)
            self._waiting += len(messages)
            self._changed.notify()
        try:
            async with asyncio.timeout(ANSWER_S):
                return await submission.future
        except TimeoutError:
            raise TryAgain(f"the log has not answered within {ANSWER_S:g} s") from None

    def close(self, timeout_s: float) -> None:
        """Take no more; append what is queued, for as long as `timeout_s`. Blocks."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _check_log(self, count: int) -> None:
        """Raise TryAgain while the log hangs, but for one submission now and then."""
        now_s, since_s = time.monotonic(), self._appending_since_s
        if since_s is not None and now_s - since_s > HANG_S:
            reason: str | None = f"the log has not answered for {now_s - since_s:.0f} s"
        else:
            reason = None if self._breaker.allows(now_s) else self._breaker.reason
        if reason is not None:
            metrics.EVENTS_REFUSED.labels("log-away").inc(count)
            raise TryAgain(reason)

    def _admit(self, count: int) -> None:
        if self._stopping:
            raise TryAgain("this process is shutting down")
        if self._waiting + count > self._max_events and self._waiting:
            metrics.EVENTS_REFUSED.labels("queue-full").inc(count)
            raise SlowDown(f"{self._waiting} events are waiting to be appended", self._retry_after_s())

    def _retry_after_s(self) -> float:
        """Return how long the queue takes to drain at the current rate."""
        expected_s = self._waiting / self._events_per_s if self._events_per_s else MIN_RETRY_S
        return min(max(expected_s, MIN_RETRY_S), MAX_RETRY_S)

    def _run(self) -> None:
        while batch := self._next_batch():
            started_s = self._appending_since_s = time.monotonic()
            messages = [message for submission in batch for message in submission.messages]
            outcome = self._append(messages)
            took_s, self._appending_since_s = time.monotonic() - started_s, None
            self._note(len(messages), took_s, outcome)
            hangs = isinstance(outcome, TryAgain) and took_s > INSTANT_S
            self._answer(batch + self._drained() if hangs else batch, outcome, hangs)

    def _next_batch(self) -> list[_Submission]:
        """Wait for submissions and take up to `batch_max` events of them; empty once stopping with none left."""
        batch: list[_Submission] = []
        with self._changed:
            while not self._queue and not self._stopping:
                self._changed.wait()
            count = 0
            while self._queue and (not batch or count + len(self._queue[0].messages) <= self._batch_max):
                batch.append(self._queue.popleft())
                count += len(batch[-1].messages)
            self._waiting -= count
        return batch

    def _drained(self) -> list[_Submission]:
        """Take all that wait."""
        with self._changed:
            batch = list(self._queue)
            self._queue.clear()
            self._waiting = 0
        return batch

    def _append(self, messages: list[Message]) -> list[Appended] | MarqueeError:
        try:
            return self._log.append(MEMBER_EVENTS, messages)
        except (SlowDown, TryAgain) as error:
            return error
        except Exception as error:  # the thread must outlive any surprise, and each caller gets an answer
            logger.exception("events could not be appended")
            return TryAgain(f"the log cannot be written: {error.__class__.__name__}")

    def _answer(self, batch: list[_Submission], outcome: list[Appended] | MarqueeError, hangs: bool) -> None:
        """Have the event loop give each submission its part of the outcome, and note how the log does."""

        def resolve() -> None:
            if hangs:
                self._breaker.failed(time.monotonic(), str(outcome))
            else:
                self._breaker.succeeded()
            _resolve(batch, outcome)

        try:
            batch[0].future.get_loop().call_soon_threadsafe(resolve)
        except RuntimeError:
            logger.warning("the event loop ended before %d callers had their answer", len(batch))

    def _note(self, count: int, seconds: float, outcome: list[Appended] | MarqueeError) -> None:
        metrics.INGEST_BATCH_EVENTS.observe(count)
        metrics.INGEST_APPEND_SECONDS.observe(seconds)
        if isinstance(outcome, MarqueeError):
            metrics.EVENTS_REFUSED.labels("log-full" if isinstance(outcome, SlowDown) else "log-away").inc(count)
            return
        metrics.EVENTS_ACCEPTED.inc(count)
        self._events_per_s += RATE_SMOOTHING * (count / max(seconds, 1e-6) - self._events_per_s)


def _resolve(batch: list[_Submission], outcome: list[Appended] | MarqueeError) -> None:
    start = 0
    for submission in batch:
        end = start + len(submission.messages)
        if submission.future.cancelled():
            pass
        elif isinstance(outcome, MarqueeError):
            submission.future.set_exception(outcome)
        else:
            submission.future.set_result([Accepted(place.partition, place.offset) for place in outcome[start:end]])
        start = end
