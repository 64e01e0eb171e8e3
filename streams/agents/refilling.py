"""Noticing that the hot store was lost, and filling it again in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import ge
from typing import Final

from streams import metrics
from streams.errors import MarqueeError, TryAgain
from streams.positions import NOTHING
from streams.stores.generations import GenerationalDurableStore, GenerationalStore
from streams.stores.protocol import DurableStore, StateEntry, StateStore, tombstone
from streams.stores.refill import refill

logger = logging.getLogger(__name__)

FEATURE_KINDS: Final = ("member", "title", "precomputed")
SHOWN_KINDS: Final = ("title_shown",)
KINDS: Final = (*FEATURE_KINDS, *SHOWN_KINDS)
"""What is kept in both stores: an agent sees to what it folds, the feature agent to precomputed pages as well."""

MARKER_KIND: Final = "refilled"


def run_in_thread(work: Callable[[], None]) -> None:
    """Run `work` beside the agent: a refill may take longer than a consumer may be silent."""
    threading.Thread(target=work, name="refill", daemon=True).start()


class _Refill:
    """A refill under way. is_valid: nothing was lost since it began."""

    def __init__(self) -> None:
        self.has_ended = False
        self.has_succeeded = False
        self.is_valid = True


class HotStoreWatch:
    """Keeps marks in the hot store; where they are missing, or are lower than those in the durable store, the hot store
    has lost states (it is a new one, was emptied, or put back from a copy), and is filled from the durable one.

    There is a marker that it was filled at all, and for each partition that the agent folds how far its writes have
    begun, and how far they are done: done is written after the states, and before the durable store's mark. So what is
    put back lacks the marks as it lacks the states. Live writes go on during a refill, positions decide; the marks are
    written last, so a refill that dies is begun again. Not noticed: a server of a cluster that holds no marks and goes
    back alone; a copy that is both made and put back within one write.

    run: runs the refill, beside the caller by default. kinds: which are seen to.
    """

    def __init__(
        self,
        hot: StateStore,
        durable: DurableStore,
        run: Callable[[Callable[[], None]], None] = run_in_thread,
        kinds: Sequence[str] = KINDS,
    ) -> None:
        self._kinds = kinds
        self._marker = _entry(kinds[0].encode(), 1)
        self._hot = hot
        self._durable = durable
        self._run = run
        self._refilling: _Refill | None = None
        self._is_whole = False
        self._begun: dict[bytes, int] = {}

    def look(self, marks: Mapping[bytes, int] | None = None) -> None:
        """Begin to refill if the hot store has lost something and no refill is under way. Raises TryAgain when it is
        away. marks: how far the durable store goes, by the keys of its marks."""
        marks = {key: position for key, position in (marks or {}).items() if position != NOTHING}
        self._begun = {key: position for key, position in self._begun.items() if key in marks}
        if self._refilling is not None:
            if self._has_lost_begun():
                self._refilling.is_valid = False
            self._end_refill(marks)
        if self._refilling is not None:
            return
        marker, *done = self._hot.positions(MARKER_KIND, [self._marker.key, *map(_done, marks)])
        self._is_whole = marker != NOTHING and all(map(ge, done, marks.values()))
        if not self._is_whole:
            if marker != NOTHING:
                logger.warning("the hot store is older than the durable one, and is refilled")
            self.begin(marks)
            self._begin_refill()
            self._end_refill(marks)

    def begin(self, positions: Mapping[bytes, int]) -> None:
        """Note in the hot store that writes up to these positions begin, by the keys of the durable store's marks."""
        if positions:
            self._hot.put(MARKER_KIND, [_entry(_begun(key), position) for key, position in positions.items()])
            self._begun.update(positions)

    def end(self, positions: Mapping[bytes, int]) -> None:
        """Note that they are done. Raises TryAgain if what was written has been lost since it was begun: it is to be
        written again."""
        if self._has_lost_begun():
            raise TryAgain("the hot store has lost what was being written to it", 0.0)
        if self._is_whole:
            self._put_done(positions)

    def _put_done(self, positions: Mapping[bytes, int]) -> None:
        if positions:
            self._hot.put(MARKER_KIND, [_entry(_done(key), position) for key, position in positions.items()])

    def _has_lost_begun(self) -> bool:
        stored = self._hot.positions(MARKER_KIND, list(map(_begun, self._begun)))
        return not all(map(ge, stored, self._begun.values()))

    def _begin_refill(self) -> None:
        """Refill in the generation of now: states of one must not get into another that serves meanwhile."""
        hot, durable = self._hot, self._durable
        self._refilling = _Refill()
        self._run(
            partial(
                self._refill,
                self._refilling,
                hot.as_of_now() if isinstance(hot, GenerationalStore) else hot,
                durable.as_of_now() if isinstance(durable, GenerationalDurableStore) else durable,
            )
        )

    def _end_refill(self, marks: Mapping[bytes, int]) -> None:
        """If a refill has ended well, note that all is done that the durable store has: it had most of that when the
        refill began, and what came since was written to both."""
        refilling = self._refilling
        if refilling is None or not refilling.has_ended:
            return
        self._refilling = None
        if refilling.has_succeeded and refilling.is_valid:
            self._put_done(marks)
            self._is_whole = True

    def _refill(self, refilling: _Refill, hot: StateStore, durable: DurableStore) -> None:
        metrics.REFILLING.inc()
        try:
            count = refill(durable, hot, self._kinds)
            hot.put(MARKER_KIND, [self._marker])
            refilling.has_succeeded = True
            metrics.REFILLS.labels("done" if count else "nothing").inc()
            metrics.REFILLED_STATES.inc(count)
            if count:
                logger.info("the hot store was refilled", extra={"states": count})
        except MarqueeError as error:
            metrics.REFILLS.labels(type(error).__name__).inc()
            logger.warning("the hot store could not be refilled yet", extra={"error": str(error)})
        finally:
            metrics.REFILLING.dec()
            refilling.has_ended = True


def _entry(key: bytes, position: int) -> StateEntry:
    return StateEntry(key, tombstone(position) + b"\x01")


def _begun(key: bytes) -> bytes:
    return b"begun/" + key


def _done(key: bytes) -> bytes:
    return b"done/" + key
