"""The child processes and tasks of a platform, as commands."""

from __future__ import annotations

import dataclasses
import socket
import sys
from collections.abc import Mapping
from typing import Final

from marquee.supervisor import ChildSpec
from streams.settings import Settings

SET_UP_FLUSH_S: Final = "0.5"
"""While a platform is set up, the warehouse gets what is there at once: the training waits for it."""


def features_agent(settings: Settings) -> ChildSpec:
    """The agents that fold events into feature states."""
    return _marquee(settings, "features", "agents", "features")


def sink_agent(settings: Settings, *, quick: bool = False) -> ChildSpec:
    """The agent that writes the warehouse; quick: small files, but soon."""
    extra = {"MARQUEE_WAREHOUSE_FLUSH_S": SET_UP_FLUSH_S} if quick else {}
    return _marquee(settings, "sink", "agents", "sink", environment=extra)


def serving(settings: Settings, listener: socket.socket) -> ChildSpec:
    """The serving process. listener: see marquee.listening; it is to stay open for as long as the process is wanted."""
    fd = listener.fileno()
    spec = _marquee(settings, "serve", "serve", environment={"MARQUEE_LISTEN_FD": str(fd)})
    return dataclasses.replace(spec, descriptors=(fd,))


def experiment_agent(settings: Settings) -> ChildSpec:
    """The agent that counts what members do who are in experiments."""
    return _marquee(settings, "experiments", "agents", "experiments")


def watcher(settings: Settings) -> ChildSpec:
    """What sees to running experiments."""
    return _marquee(settings, "watcher", "experiments", "watch")


def training(settings: Settings) -> ChildSpec:
    """One training run."""
    return _marquee(settings, "train", "train")


def precomputing(settings: Settings) -> ChildSpec:
    """One run of the job that computes pages ahead."""
    return _marquee(settings, "precompute", "precompute")


def _marquee(settings: Settings, name: str, *arguments: str, environment: Mapping[str, str] | None = None) -> ChildSpec:
    chosen = {"MARQUEE_STATE": str(settings.state), "MARQUEE_PORT": str(settings.port), "MARQUEE_HOST": settings.host}
    return ChildSpec(name, (sys.executable, "-m", "marquee", *arguments), {**chosen, **(environment or {})})
