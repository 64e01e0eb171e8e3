"""Measures how far an agent is behind, in a thread of its own: a far log takes many round trips to say where it ends,
and the agent's pages would wait for them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping

from streams import metrics
from streams.agents.repeating import repeating
from streams.errors import MarqueeError
from streams.event_log.protocol import EventLog, TopicPartition

logger = logging.getLogger(__name__)


class LagMeter:
    """Sets the gauge of each partition that an agent holds, and takes it back once it does not.

    done: the next offset that is durable, by partition held; called from the meter's thread.
    """

    def __init__(
        self, log: EventLog, agent: str, interval_s: float, done: Callable[[], Mapping[TopicPartition, int]]
    ) -> None:
        self._log = log
        self._agent = agent
        self._interval_s = interval_s
        self._done = done
        self._shown: set[TopicPartition] = set()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Measure every `interval_s` while the block runs."""
        try:
            with repeating(self._measure_or_log, self._interval_s, f"{self._agent}-lag"):
                yield
        finally:
            self._forget(self._shown.copy())

    def measure(self) -> None:
        """Measure once. While the log is away, or has no such topic any more, gauges of what is held stay as they
        are."""
        held = self._done()
        self._forget(self._shown - held.keys())
        with contextlib.suppress(MarqueeError):
            for at, done in held.items():
                lag = self._behind(at, done)
                self._shown.add(at)
                metrics.AGENT_LAG.labels(self._agent, at.topic, str(at.partition)).set(lag)

    def _measure_or_log(self) -> None:
        try:
            self.measure()
        except Exception:  # a gauge that stood still unseen would say that all is well
            logger.exception("the lag cannot be measured", extra={"agent": self._agent})

    def _behind(self, at: TopicPartition, done: int) -> int:
        return max(self._log.end_offset(*at) - max(done, self._log.start_offset(*at)), 0)

    def _forget(self, places: Collection[TopicPartition]) -> None:
        for at in places:
            metrics.AGENT_LAG.remove(self._agent, at.topic, str(at.partition))
        self._shown -= set(places)
