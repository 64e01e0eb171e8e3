"""Measures how far an agent is behind, in a thread of its own: a far log takes many round trips to say where it ends,
and the agent's pages would wait for them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping

from streams import metrics
from streams.errors import MarqueeError
from streams.event_log.protocol import EventLog, TopicPartition


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
        stop = threading.Event()

        def work() -> None:
            while not stop.wait(self._interval_s):
                self.measure()

        thread = threading.Thread(target=work, name=f"{self._agent}-lag", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            self._show({})

    def measure(self) -> None:
        """Measure once. While the log is away, or has no such topic any more, the gauges stay as they are."""
        with contextlib.suppress(MarqueeError):
            self._show({at: self._behind(at, done) for at, done in self._done().items()})

    def _behind(self, at: TopicPartition, done: int) -> int:
        return max(self._log.end_offset(*at) - max(done, self._log.start_offset(*at)), 0)

    def _show(self, lags: Mapping[TopicPartition, int]) -> None:
        for at in self._shown - lags.keys():
            metrics.AGENT_LAG.remove(self._agent, at.topic, str(at.partition))
        for at, lag in lags.items():
            metrics.AGENT_LAG.labels(self._agent, at.topic, str(at.partition)).set(lag)
        self._shown = set(lags)
