"""What goes wrong in a chaos run: each fault strikes a platform at work and leaves it to mend itself."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple, Protocol

from load_tests.chaos.fleet import Fleet

WORKERS: Final = "features"
"""Feature workers are named features-1, features-2, …"""
SCALES: Final = (4, 2, 1, 2)
"""To so many feature workers in turn."""
FROZEN_SESSIONS: Final = 1.5
"""A frozen worker wakes after so many session timeouts: its partitions are others' by then."""
MAX_OUTAGE_S: Final = 1.5
"""A killed engine is started again after up to this, and takes its own time to be ready."""


class Engines(Protocol):
    """The real engines of a run, which it may kill."""

    def kill(self, name: str) -> None:
        """Kill an engine as the kernel does."""
        ...

    def start(self, name: str, *, wipe: bool = False) -> None:
        """Start a dead engine, with its data or without."""
        ...


class Field:
    """A platform at work, to be struck. What a strike breaks off comes back beside the strikes that follow.

    engines: None where they are embedded. empty_hot: empties the hot store under everyone.
    """

    def __init__(
        self,
        fleet: Fleet,
        rng: random.Random,
        session_timeout_s: float,
        empty_hot: Callable[[], None],
        engines: Engines | None = None,
    ) -> None:
        self.fleet = fleet
        self.rng = rng
        self.scales = itertools.cycle(SCALES)
        self.empty_hot = empty_hot
        self._session_timeout_s = session_timeout_s
        self._engines = engines
        self._coming_back = ThreadPoolExecutor(thread_name_prefix="coming-back")
        self._starts: dict[str, Future[None]] = {}

    def scale(self, workers: int) -> None:
        """Start or stop (as an operator does) feature workers until there are so many."""
        for number in itertools.count(1):
            name, there = f"{WORKERS}-{number}", self.fleet.names()
            if number <= workers and name not in there:
                self.fleet.start(name)
            elif number > workers and name in there:
                self.fleet.stop(name)
            elif number > workers:
                return

    def kill(self, prefix: str) -> None:
        """Kill one of the processes whose names begin with `prefix`, and start it again."""
        awake = self.fleet.awake(prefix)
        if awake:
            name = self.rng.choice(awake)
            self.fleet.kill(name)
            self.fleet.start(name)

    def freeze(self, prefix: str) -> None:
        """Freeze one of the processes until others have taken its place, then let it go on as if nothing had been."""
        awake = self.fleet.awake(prefix)
        if awake:
            name = self.rng.choice(awake)
            self.fleet.freeze(name)
            waking = threading.Timer(self._session_timeout_s * FROZEN_SESSIONS, self.fleet.thaw, [name])
            waking.daemon = True
            waking.start()

    def kill_engine(self, name: str, *, wipe: bool = False) -> None:
        """Kill an engine that is up, and have it started again a moment later, with its data or without."""
        assert self._engines is not None
        self._await_start(name)
        self._engines.kill(name)
        self._starts[name] = self._coming_back.submit(
            self._start_later, name, self.rng.uniform(0.0, MAX_OUTAGE_S), wipe
        )

    def settle(self) -> None:
        """Wake whoever is frozen, and return once every engine is up again. Raises what kept one from it."""
        for name in self.fleet.names():
            self.fleet.thaw(name)
        for name in list(self._starts):
            self._await_start(name)
        self._coming_back.shutdown()

    def _await_start(self, name: str) -> None:
        start = self._starts.pop(name, None)
        if start is not None:
            start.result()

    def _start_later(self, name: str, after_s: float, wipe: bool) -> None:
        assert self._engines is not None
        time.sleep(after_s)
        self._engines.start(name, wipe=wipe)


class Fault(NamedTuple):
    """A fault by name, and how often it comes beside the others."""

    name: str
    strike: Callable[[Field], None]
    weight: int = 1


ON_PROCESSES: Final = (
    Fault("worker killed", lambda on: on.kill(WORKERS), 3),
    Fault("serving killed", lambda on: on.kill("serve"), 2),
    Fault("sink killed", lambda on: on.kill("sink"), 2),
    Fault("experiment agent killed", lambda on: on.kill("experiments"), 2),
    Fault("producer killed", lambda on: on.kill("producer")),
    Fault("worker frozen past its session", lambda on: on.freeze(WORKERS), 2),
    Fault("workers scaled", lambda on: on.scale(next(on.scales)), 3),
    Fault("hot store emptied", lambda on: on.empty_hot()),
)
ON_ENGINES: Final = (
    Fault("broker killed", lambda on: on.kill_engine("kafka"), 2),
    Fault("Redis killed", lambda on: on.kill_engine("redis"), 2),
    Fault("Redis killed, data lost", lambda on: on.kill_engine("redis", wipe=True)),
    Fault("Cassandra killed", lambda on: on.kill_engine("cassandra")),
)


def deal(kinds: Sequence[Fault], count: int, rng: random.Random) -> list[Fault]:
    """Return `count` faults in random order: each kind once before chance, by weight, fills up the rest.

    >>> [fault.name for fault in deal(ON_PROCESSES[:1], 2, random.Random(1))]
    ['worker killed', 'worker killed']
    """
    first = rng.sample(kinds, min(count, len(kinds)))
    rest = rng.choices(kinds, [kind.weight for kind in kinds], k=count - len(first))
    dealt = [*first, *rest]
    rng.shuffle(dealt)
    return dealt
