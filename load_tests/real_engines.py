"""Real engines of a run's own: started in a folder of theirs, at ports that nobody uses, and stopped after it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from marquee.engines.engine import is_open
from marquee.engines.local import DEFAULT_FOLDER, PLATFORM, Engines
from streams.errors import FixRequest

EngineKind = Literal["embedded", "real"]
"""On which engines something is measured."""

PASSABLE: Final = 0o711
"""PostgreSQL does not run as root, so another user must get through to its data."""

PORTS: Final = range(22_000, 29_000, 1_000)
"""None of these is the default of `make engines-up`, so that a platform may run beside."""


@contextmanager
def real_engines(jars: Path | None = None) -> Iterator[Engines]:
    """Yield Kafka, Cassandra, Redis and PostgreSQL that answer. jars: where Maven puts them, to be used again.

    Raises FixRequest if this machine cannot run one, TryAgain if one does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="marquee-engines-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, PASSABLE)
        engines = _unused(Path(folder) / "engines", jars or DEFAULT_FOLDER / "jars")
        try:
            engines.start_all(PLATFORM)
            yield engines
        finally:
            for name in PLATFORM:
                engines.stop(name)


def as_settings(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return what an environment sets, by the names of the settings.

    >>> as_settings({"MARQUEE_HOT_URL": "redis://127.0.0.1"})
    {'hot_url': 'redis://127.0.0.1'}
    """
    return {name.removeprefix("MARQUEE_").lower(): value for name, value in environment.items()}


def _unused(folder: Path, jars: Path) -> Engines:
    for base_port in PORTS:
        engines = Engines(folder, base_port, quick=True, jars=jars)
        ports = [urlsplit(engines.url(name)).port for name in PLATFORM]
        if not any(is_open(port) for port in ports if port is not None):
            return engines
    raise FixRequest("ports", f"none of {PORTS} is free; stop the engines of other runs")
