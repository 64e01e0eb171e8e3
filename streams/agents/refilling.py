"""Noticing that the hot store was lost, and filling it again in the background."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from streams import metrics
from streams.errors import MarqueeError
from streams.stores.generations import GenerationalDurableStore, GenerationalStore
from streams.stores.protocol import DurableStore, StateEntry, StateStore
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


class HotStoreWatch:
    """Keeps a marker in the hot store; where it is missing the store is a new one, and is filled from the durable one.

    Live writes go on meanwhile, positions decide. The marker is written last, so a refill that dies is begun again.
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
        self._marker = StateEntry(kinds[0].encode(), (1).to_bytes(8, "big") + b"\x01")
        self._hot = hot
        self._durable = durable
        self._run = run
        self._busy = threading.Lock()

    def look(self) -> None:
        """Begin to refill if the hot store is a new one and no refill is under way. Raises TryAgain when it is away."""
        if self._hot.get(MARKER_KIND, [self._marker.key])[0] is None and not self._busy.locked():
            hot, durable = self._hot, self._durable
            self._run(
                partial(  # in the generation of now: states of one must not get into another that serves meanwhile
                    self._refill,
                    hot.as_of_now() if isinstance(hot, GenerationalStore) else hot,
                    durable.as_of_now() if isinstance(durable, GenerationalDurableStore) else durable,
                )
            )

    def _refill(self, hot: StateStore, durable: DurableStore) -> None:
        if not self._busy.acquire(blocking=False):
            return
        metrics.REFILLING.inc()
        try:
            count = refill(durable, hot, self._kinds)
            hot.put(MARKER_KIND, [self._marker])
            metrics.REFILLS.labels("done" if count else "nothing").inc()
            metrics.REFILLED_STATES.inc(count)
            if count:
                logger.info("the hot store was refilled", extra={"states": count})
        except MarqueeError as error:
            metrics.REFILLS.labels(type(error).__name__).inc()
            logger.warning("the hot store could not be refilled yet", extra={"error": str(error)})
        finally:
            metrics.REFILLING.dec()
            self._busy.release()
