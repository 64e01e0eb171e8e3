"""The same engines through Docker: deploy/compose.yaml on the same ports."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

from marquee.engines.jars import DEPLOY
from streams.errors import FixRequest, TryAgain

COMPOSE: Final = DEPLOY / "compose.yaml"
ANSWER_S: Final = 10.0


def docker_answers() -> bool:
    """Return whether a Docker engine answers here."""
    if shutil.which("docker") is None:
        return False
    try:
        asked = subprocess.run(["docker", "version"], capture_output=True, timeout=ANSWER_S, check=False)  # noqa: S607
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def up(base_port: int, names: Sequence[str]) -> None:
    """Start engines, and return once their health checks pass."""
    if "redis-cluster" in names:
        raise FixRequest("redis-cluster", "deploy/compose.yaml has no cluster; start it without --docker")
    _compose(base_port, "up", "--detach", "--wait", *names)


def down(base_port: int, *, wipe: bool) -> None:
    """Stop all services; wipe: remove their volumes, too."""
    _compose(base_port, "down", *(["--volumes"] if wipe else []))


def status(base_port: int) -> None:
    """Print the services as Docker shows them."""
    _compose(base_port, "ps", "--all")


def environment(base_port: int) -> dict[str, str]:
    """Return the ports that the compose file publishes its engines on."""
    ends = {"KAFKA": 92, "CASSANDRA": 42, "REDIS": 79, "POSTGRES": 32}
    return {f"MARQUEE_{name}_PORT": str(base_port + end) for name, end in ends.items()}


def passwords() -> dict[str, str]:
    """Return the passwords that the file insists on: those of the environment, or what everybody knows."""
    return {name: os.environ.get(name, "marquee") for name in ("MARQUEE_SQL_PASSWORD", "GRAFANA_PASSWORD")}


def _compose(base_port: int, *arguments: str) -> None:
    if not docker_answers():
        raise FixRequest("docker", "no Docker engine answers here; leave --docker out to use Java and the packages")
    done = subprocess.run(  # noqa: S603
        ["docker", "compose", "--file", str(COMPOSE), *arguments],  # noqa: S607
        env={**os.environ, **environment(base_port), **passwords()},
        check=False,
    )
    if done.returncode:
        raise TryAgain(f"docker compose {arguments[0]} failed with exit code {done.returncode}")
