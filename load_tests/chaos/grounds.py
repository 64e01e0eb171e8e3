"""Where a chaos run takes place: embedded engines in a folder, or real ones of its own, which it may kill."""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import redis

from load_tests.chaos.faults import ON_ENGINES, ON_PROCESSES, Fault, Field
from load_tests.chaos.fleet import Fleet
from load_tests.real_engines import as_settings, real_engines
from streams.settings import Settings


@dataclass(frozen=True)
class Ground:
    """Engines, the faults that they allow, and the pace of a run on them.

    mean_pause_s: between two faults; about what a struck part needs to be at work again, so that faults meet every
    phase of it.
    """

    settings: Settings
    kinds: Sequence[Fault]
    mean_pause_s: float
    events_per_fault: int
    field_of: Callable[[Fleet, random.Random], Field]


def embedded_ground(state: Path) -> Ground:
    """Return the ground of embedded engines in a folder."""
    settings = Settings(state=state, session_timeout_ms=3_000)

    def field_of(fleet: Fleet, rng: random.Random) -> Field:
        hot = settings.path_of(settings.hot_url)
        return Field(fleet, rng, _session_s(settings), lambda: shutil.rmtree(hot, ignore_errors=True))

    return Ground(settings, ON_PROCESSES, 0.8, 1_000, field_of)


@contextlib.contextmanager
def real_ground(state: Path, jars: Path | None = None) -> Iterator[Ground]:
    """Yield the ground of real engines, started for this run; see `real_engines`."""
    with real_engines(jars) as engines:
        urls = as_settings(engines.environment())
        settings = Settings.model_validate({"state": state, "session_timeout_ms": 6_000, **urls})

        def field_of(fleet: Fleet, rng: random.Random) -> Field:
            return Field(fleet, rng, _session_s(settings), lambda: _flush(settings), engines)

        yield Ground(settings, (*ON_PROCESSES, *ON_ENGINES), 2.0, 1_000, field_of)


def _session_s(settings: Settings) -> float:
    return settings.session_timeout_ms / 1_000


def _flush(settings: Settings) -> None:
    """Empty Redis; nothing if it is dead just now, which is worse."""
    with contextlib.suppress(redis.RedisError), redis.Redis.from_url(settings.hot_url) as client:
        client.flushall()
