"""How experiments stand, worked out once for all who ask within a moment: pages ask every few seconds, and thousands of
aggregates take a second of the process that serves homepages."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from serving.experiments.standing import Standing, Standings
from streams.errors import SlowDown
from streams.experiments.definition import Experiment

REMEMBERED: Final = 32
LEAST_S: Final = 1.0
REST: Final = 9.0
"""Times as long as it took to work out it is good for: all who ask take a tenth of one core at most."""
PATIENCE_S: Final = 10.0
"""How long a request may wait for those before it: one is worked out at a time."""


class _Known(NamedTuple):
    revision: int
    until_s: float
    standing: Standing


class RecentStandings:
    """Standings that are a few seconds old at most; thread-safe. Errors are those of `Standings`, and SlowDown."""

    def __init__(self, standings: Standings, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._standings = standings
        self._clock_s = clock_s
        self._working = threading.Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def stand(self, experiment: Experiment, now_ms: int) -> Standing:
        """Return how an experiment stands; another revision of it is worked out at once."""
        name = experiment.definition.id
        if (found := self._good(experiment)) is not None:
            return found
        if not self._working.acquire(timeout=PATIENCE_S):
            raise SlowDown("others are having results worked out", PATIENCE_S / 2)
        try:
            if (found := self._good(experiment)) is not None:
                return found
            began_s = self._clock_s()
            standing = self._standings.stand(experiment, now_ms)
            ended_s = self._clock_s()
            good_s = max(LEAST_S, REST * (ended_s - began_s))
            self._known[name] = _Known(experiment.revision, ended_s + good_s, standing)
            self._known.move_to_end(name)
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            return standing
        finally:
            self._working.release()

    def _good(self, experiment: Experiment) -> Standing | None:
        known = self._known.get(experiment.definition.id)
        if known is None or known.revision != experiment.revision or self._clock_s() >= known.until_s:
            return None
        return known.standing
