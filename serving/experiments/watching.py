"""The process of the watcher: `marquee experiments watch`."""

from __future__ import annotations

import contextlib
import logging
import random
import time

from serving.experiments.standing import Standings
from serving.experiments.store import ExperimentStore
from serving.experiments.watcher import Watcher, watch
from streams.agents.app import stop_on_signals
from streams.agents.health import AgentHealth
from streams.agents.health_server import health_server
from streams.agents.json_logs import log_json_to_stderr
from streams.settings import Settings
from streams.stores.sql import open_sql

logger = logging.getLogger(__name__)


def run_watcher(settings: Settings, metrics_port: int | None = None) -> None:
    """Watch experiments until SIGTERM or Ctrl-C. Raises FixRequest for settings that cannot be, OSError for a port that
    is taken."""
    log_json_to_stderr()
    stopped, health, engine = stop_on_signals(), AgentHealth(), open_sql(settings)
    store = ExperimentStore(engine, _never_ships)
    watcher = Watcher(engine, store, Standings(engine), random.SystemRandom())
    with contextlib.ExitStack() as stack:
        stack.callback(engine.dispose)
        if metrics_port is not None:
            stack.enter_context(health_server(health, metrics_port, settings.host))
        logger.info("the watcher starts")
        watch(watcher, stopped, settings.experiment_watch_s, lambda: time.time_ns() // 1_000_000, health)
    logger.info("the watcher has stopped")


def _never_ships(version: str) -> None:
    raise AssertionError(f"the watcher ships nothing, {version} neither")
