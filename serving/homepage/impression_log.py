"""The impression log: says in the `impressions` topic what each member was shown, off the request path.

The request path adds a small tuple to a bounded queue. A thread takes what is there every tenth of a second,
encodes it, and appends it in one call, or spools it while the log is away (see `spooled_appender`). Only what exceeds
the queue and the spool is dropped, and counted.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from serving import metrics
from serving.homepage.page_cache import CachedPage, Origin
from serving.homepage.page_finder import find_in_log, find_in_message
from serving.homepage.page_id import parse_page_id
from serving.homepage.showing import Showing, encoded_impression, grouped, impression_of
from serving.homepage.spool import Spool
from serving.homepage.spooled_appender import BATCH_MAX, Counts, SpooledAppender
from serving.titles import TitleSnapshot
from streams.errors import MarqueeError
from streams.event_log.protocol import EventLog, Message
from streams.impressions import MAX_IMPRESSION_BYTES, Impression, encode_impression
from streams.topics import IMPRESSIONS

logger = logging.getLogger(__name__)

LINGER_S: Final = 0.1
"""How long impressions gather before they are appended: each append waits for the disk once, whatever its size."""

RECENT_PAGES: Final = 2_000
RECENT_BYTES: Final = 32 << 20
"""Impressions remembered in memory, in number and size: those that somebody looks at are mostly seconds old."""

FIND_WAIT_S: Final = 1.0
"""How long `find` waits for a page of this process that is still in the queue."""


class ImpressionLog:
    """Bounded, lossless while log or spool can be written. `put` belongs to the event loop, `find` to any thread."""

    def __init__(
        self,
        log: EventLog,
        spool: Spool,
        max_queue: int,
        persist: Callable[[TitleSnapshot], object],
        *,
        linger_s: float = LINGER_S,
        append_s: float | None = None,
        on_written: Callable[[Sequence[CachedPage]], object] | None = None,
        on_shown: Callable[[Iterable[Showing]], object] = lambda _: None,
    ) -> None:
        """persist: stores the title snapshot of a page, for its replay. append_s: how long a log that hangs is waited
        for, None for one that does not. on_written: called, in the thread, with the pages whose first showing, as fresh
        ones, was just written. on_shown: called, in the thread, with what was shown, once for each page of a moment."""
        self._log = log
        counts = Counts(metrics.IMPRESSIONS_APPENDED, metrics.IMPRESSIONS_SPOOLED)
        self._appender = SpooledAppender(log, IMPRESSIONS, spool, append_s, counts)
        self._persist = persist
        self._max_queue = max_queue
        self._linger_s = linger_s
        self._on_written = on_written
        self._on_shown = on_shown
        self._queue: deque[Showing] = deque()
        self._held: list[Message] = []
        """A batch that neither the log nor the spool could take."""
        self._held_pages: list[CachedPage] = []
        """The pages first shown, as fresh ones, in that batch."""
        self._recent: dict[bytes, bytes] = {}
        """Messages by page id; those of one message are forgotten at once."""
        self._recent_groups: deque[tuple[list[bytes], bytes]] = deque()
        self._recent_bytes = 0
        self._recent_lock = threading.Lock()
        self._wake = threading.Event()
        self._passes = threading.Condition()
        self._begun = self._ended = 0
        """Passes over the queue, by the thread."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="impression-log", daemon=True)

    @property
    def problem(self) -> str | None:
        """Why the last append failed, None if it did not."""
        return self._appender.problem

    def start(self) -> None:
        """Start appending, with what an earlier process left in the spool."""
        self._thread.start()

    def put(self, showing: Showing) -> bool:
        """Note a showing; return whether there was room for it. Takes no lock and never waits."""
        if len(self._queue) >= self._max_queue:
            metrics.IMPRESSIONS_DROPPED.inc()
            return False
        self._queue.append(showing)
        return True

    def find(self, page_id: str) -> Impression | None:
        """Return the impression of a page, None if the log does not have it (any more). Blocks for as much as a second.

        Raises FixRequest if it is no page id, TryAgain if the log cannot be read.
        """
        parts = parse_page_id(page_id)
        found = self._find_recent(page_id)
        if found is None:
            if self._queue or self._held or self._begun != self._ended:
                self._flushed(FIND_WAIT_S)
            found = self._find_recent(page_id)
        if found:
            return find_in_message(found, page_id)
        return find_in_log(self._log, page_id, parts)

    def close(self, timeout_s: float) -> None:
        """Append (or spool) what is queued and stop; what can go nowhere within `timeout_s` is dropped and counted."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        left = len(self._queue) + len(self._held)
        if left:
            metrics.IMPRESSIONS_DROPPED.inc(left)
            logger.error("%d impressions could not be written anywhere", left)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(self._linger_s)
            self._wake.clear()
            self._step()
        self._appender.retry_now()
        self._step()
        self._appender.close()

    def _step(self) -> None:
        with self._passes:
            self._begun += 1
        try:
            self._appender.settle()
            self._appender.drain()
            while self._write_next():
                self._appender.drain()  # what follows may have been spooled behind it
        except Exception:  # the thread must outlive any surprise, or every later impression would be lost
            logger.exception("impressions could not be written")
            self._appender.back_off("unexpected error")
        with self._passes:
            self._ended = self._begun
            self._passes.notify_all()

    def _write_next(self) -> bool:
        """Write the next batch to the log, or else the spool; return whether to go on with another."""
        batch = self._held or self._take()
        if not batch:
            return False
        self._held = batch
        if not self._appender.write(batch):
            return False
        pages, self._held, self._held_pages = self._held_pages, [], []
        if pages and self._on_written is not None:
            self._on_written(pages)
        return True

    def _take(self) -> list[Message]:
        """Return up to BATCH_MAX queued showings as messages, repeats of a page in one, and remember them."""
        showings = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAX))]
        groups = grouped(showings)
        encoded = [(group, _encoded(group)) for group in groups]
        self._remember(([showing[0] for showing in group], value) for group, value in encoded)
        for *_, origin in showings:
            if origin is not None:
                self._persist_snapshot(origin)
        self._tell_shown(groups)
        self._held_pages = [entry for _, _, step, _, entry, origin in showings if origin and step == "fresh"]
        return [Message(group[0][4].member_key, value) for group, value in encoded if value]

    def _tell_shown(self, groups: Sequence[Sequence[Showing]]) -> None:
        try:
            self._on_shown([group[0] for group in groups])
        except Exception:  # whatever ails the listener, impressions are not lost with it
            logger.exception("what was shown could not be passed on")

    def _persist_snapshot(self, origin: Origin) -> None:
        if origin.snapshot is not None:
            try:
                self._persist(origin.snapshot)
            except MarqueeError as error:  # the page can then not be recomputed, but what it showed is kept
                logger.warning("a title snapshot could not be stored: %s", error)

    def _remember(self, encoded: Iterable[tuple[list[bytes], bytes]]) -> None:
        with self._recent_lock:
            for page_ids, value in encoded:
                self._recent.update(dict.fromkeys(page_ids, value))
                self._recent_groups.append((page_ids, value))
                self._recent_bytes += len(value)
            while len(self._recent) > RECENT_PAGES or self._recent_bytes > RECENT_BYTES:
                page_ids, dropped = self._recent_groups.popleft()
                self._recent_bytes -= len(dropped)
                for page_id in page_ids:
                    del self._recent[page_id]

    def _find_recent(self, page_id: str) -> bytes | None:
        with self._recent_lock:
            return self._recent.get(page_id.encode())

    def _flushed(self, timeout_s: float) -> None:
        """Have what is queued now written; return when that was tried, or after `timeout_s`."""
        with self._passes:
            next_pass = self._begun + 1  # one that is under way may have looked into the queue already
            self._wake.set()
            self._passes.wait_for(lambda: self._ended >= next_pass, timeout_s)


def _encoded(group: list[Showing]) -> bytes:
    """Return the impression of showings that share a message; without the member's state if that makes it too large,
    b"" if even so it is. (The repeats of BATCH_MAX pages take a fifth of the bound.)"""
    encoded = encoded_impression(group)
    if len(encoded) > MAX_IMPRESSION_BYTES:
        encoded = encode_impression(msgspec.structs.replace(impression_of(group[0]), state=None))
    if len(encoded) > MAX_IMPRESSION_BYTES:
        metrics.IMPRESSIONS_DROPPED.inc()
        return b""
    return encoded
