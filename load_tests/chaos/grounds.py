"""Where a chaos run takes place: embedded engines in a folder, or real ones of its own, which it may kill."""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import redis

from load_tests.chaos.faults import ON_ENGINES, ON_PROCESSES, Fault, Field
from load_tests.chaos.fleet import Fleet
from marquee.engines.engine import is_open
from marquee.engines.local import PLATFORM, Engines
from streams.errors import FixRequest
from streams.settings import Settings

ENGINE_PORTS: Final = range(22_000, 29_000, 1_000)
"""Where the engines of a run may listen: none of these is the default, so a platform may run beside."""


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
def real_ground(folder: Path, jars: Path | None = None) -> Iterator[Ground]:
    """Yield the ground of real engines, started for this run in a folder, and stopped after it.

    jars: where Maven has put them already. Raises FixRequest if this machine cannot run one, TryAgain if one fails.
    """
    engines = _engines(folder / "engines", jars)
    try:
        engines.start_all(PLATFORM)
        settings = Settings.model_validate({"state": folder / "state", "session_timeout_ms": 6_000, **_urls(engines)})

        def field_of(fleet: Fleet, rng: random.Random) -> Field:
            return Field(fleet, rng, _session_s(settings), lambda: _flush(settings), engines)

        yield Ground(settings, (*ON_PROCESSES, *ON_ENGINES), 2.0, 1_000, field_of)
    finally:
        for name in PLATFORM:
            engines.stop(name)


def _engines(folder: Path, jars: Path | None) -> Engines:
    """Return engines at ports that nobody listens on."""
    for base_port in ENGINE_PORTS:
        engines = Engines(folder, base_port, quick=True, jars=jars)
        ports = [urlsplit(engines.url(name)).port for name in PLATFORM]
        if not any(is_open(port) for port in ports if port is not None):
            return engines
    raise FixRequest("ports", f"none of {ENGINE_PORTS} is free; stop the engines of other runs")


def _urls(engines: Engines) -> dict[str, str]:
    return {name.removeprefix("MARQUEE_").lower(): value for name, value in engines.environment().items()}


def _session_s(settings: Settings) -> float:
    return settings.session_timeout_ms / 1_000


def _flush(settings: Settings) -> None:
    """Empty Redis; nothing if it is dead just now, which is worse."""
    with contextlib.suppress(redis.RedisError), redis.Redis.from_url(settings.hot_url) as client:
        client.flushall()
