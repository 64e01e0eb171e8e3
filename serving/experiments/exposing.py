"""The exposure log: says in the `exposures` topic which members met which variants, off the request path.

Pages tell it through the impression log's thread, apps through their routes. What was told within the last hour is not
told again: analysis needs a member's first exposure, and a repeat now and then in case that one was lost. A thread of
its own appends what is new, keyed by member as events are, or spools it while the log is away.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from serving import metrics
from serving.homepage.showing import Showing
from serving.homepage.spool import Spool
from serving.homepage.spooled_appender import BATCH_MAX, Counts, SpooledAppender
from streams.event_log.protocol import EventLog, Message
from streams.impressions import Exposure, encode_exposure
from streams.topics import EXPOSURES

logger = logging.getLogger(__name__)

LINGER_S: Final = 0.1
REPEAT_MS: Final = 3_600_000
REMEMBERED: Final = 100_000
"""Exposures whose time is remembered, twice at most; each takes some 250 bytes. One that is forgotten is told again."""

FALLBACK: Final = "fallback"
"""The step of an exposure on a fresh page that the champion made instead of the variant's model."""

_Key = tuple[str, str, str, bool, bool]
"""member_id, experiment, variant, whether it was shown in full, whether it was forced: that does not count."""


class ExposureLog:
    """Bounded, lossless while log or spool can be written. `put` and `note` are any thread's."""

    def __init__(
        self,
        log: EventLog,
        spool: Spool,
        max_queue: int,
        *,
        linger_s: float = LINGER_S,
        append_s: float | None = None,
        remembered: int = REMEMBERED,
    ) -> None:
        """append_s: how long a log that hangs is waited for, None for one that does not."""
        counts = Counts(metrics.EXPOSURES_APPENDED, metrics.EXPOSURES_SPOOLED)
        self._appender = SpooledAppender(log, EXPOSURES, spool, append_s, counts)
        self._max_queue = max_queue
        self._linger_s = linger_s
        self._remembered = remembered
        self._told_ms: dict[_Key, int] = {}
        self._told_earlier_ms: dict[_Key, int] = {}
        self._lock = threading.Lock()
        self._queue: deque[Exposure] = deque()
        self._held: list[Message] = []
        """A batch that neither the log nor the spool could take."""
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="exposure-log", daemon=True)

    @property
    def problem(self) -> str | None:
        """Why the last append failed, None if it did not."""
        return self._appender.problem

    def start(self) -> None:
        """Start appending, with what an earlier process left in the spool."""
        self._thread.start()

    def put(self, exposure: Exposure) -> bool:
        """Have an exposure told unless it was within the hour (whatever its `first`); return False if there was no room
        for it: nothing is remembered of it then, so that the next one of its kind is told."""
        in_full = exposure.step == "fresh"
        key = (exposure.member_id, exposure.experiment, exposure.variant, in_full, exposure.forced)
        with self._lock:
            told_ms = self._told(key)
            if told_ms is not None and 0 <= exposure.exposed_at_ms - told_ms < REPEAT_MS:
                return True
            if len(self._queue) >= self._max_queue:
                metrics.EXPOSURES_DROPPED.inc()
                return False
            self._remember(key, exposure.exposed_at_ms)
            self._queue.append(msgspec.structs.replace(exposure, first=told_ms is None))
        metrics.EXPOSURES_TOLD.labels(exposure.experiment).inc()
        return True

    def note(self, showings: Iterable[Showing]) -> None:
        """Have told what members met on pages. For a page that is shown again this costs next to nothing."""
        for showing in showings:
            _, served_at_ms, step, _, entry, _ = showing
            if not entry.treatment.exposed:
                continue
            in_full = step == "fresh" and entry.lacking is None
            if in_full and served_at_ms < entry.exposed_until_ms:
                continue
            told = [self.put(exposure) for exposure in exposures_of(showing)]
            if in_full and all(told):
                entry.exposed_until_ms = served_at_ms + REPEAT_MS

    def close(self, timeout_s: float) -> None:
        """Append (or spool) what is queued and stop; what can go nowhere within `timeout_s` is dropped and counted."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        left = len(self._queue) + len(self._held)
        if left:
            metrics.EXPOSURES_DROPPED.inc(left)
            logger.error("%d exposures could not be written anywhere", left)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._linger_s)
            self._step()
        self._appender.retry_now()
        self._step()
        self._appender.close()

    def _step(self) -> None:
        try:
            self._appender.settle()
            self._appender.drain()
            while self._write_next():
                self._appender.drain()  # what follows may have been spooled behind it
        except Exception:  # the thread must outlive any surprise, or every later exposure would be lost
            logger.exception("exposures could not be written")
            self._appender.back_off("unexpected error")

    def _write_next(self) -> bool:
        """Write the next batch to the log, or else the spool; return whether to go on with another."""
        self._held = self._held or self._take()
        if not self._held or not self._appender.write(self._held):
            return False
        self._held = []
        return True

    def _take(self) -> list[Message]:
        exposures = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAX))]
        return [Message(exposure.member_id.encode(), encode_exposure(exposure)) for exposure in exposures]

    def _told(self, key: _Key) -> int | None:
        told_ms = self._told_ms.get(key)
        return self._told_earlier_ms.get(key) if told_ms is None else told_ms

    def _remember(self, key: _Key, at_ms: int) -> None:
        if len(self._told_ms) >= self._remembered:
            self._told_earlier_ms, self._told_ms = self._told_ms, {}
        self._told_ms[key] = at_ms


def exposures_of(showing: Showing) -> Sequence[Exposure]:
    """Return what a member met on a page as it was shown."""
    page_id, served_at_ms, step, _, entry, _ = showing
    shown = FALLBACK if step == "fresh" and entry.lacking is not None else step
    key = entry.key
    return [
        Exposure(
            experiment=exposed.experiment,
            variant=exposed.variant,
            member_id=key.member_id,
            page_id=page_id.decode(),
            exposed_at_ms=served_at_ms,
            first=True,
            step=shown,
            country=key.country,
            device=key.device,
            forced=exposed.forced,
        )
        for exposed in entry.treatment.exposed
    ]
