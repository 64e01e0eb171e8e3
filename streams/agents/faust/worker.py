"""The Faust app of a worker: engines by settings, a consumer group for each agent, one web server for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Sequence
from random import Random
from typing import Final, cast

from faust.app.base import BootStrategy
from faust.types.web import Web

from streams.agents.faust.client import faust_urls
from streams.agents.faust.group import BatchApp, GroupApp
from streams.agents.faust.reader import CommittingLog
from streams.agents.faust.views import VIEWS
from streams.agents.health import AgentHealth
from streams.agents.opening import check_names, open_agents
from streams.agents.protocol import Agent
from streams.agents.runner import AgentLoop, Join, RunnerPolicy
from streams.event_log.kafka.config import config_of
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog
from streams.settings import Settings

APP_ID: Final = "marquee-agents"
HOST: Final = "127.0.0.1"
WEB_PORT: Final = 6066
"""Faust's own default; `faust worker --web-port` changes it."""


class WebOnly(BootStrategy):
    """What the worker's app starts itself: web and sensors. Each agent's group has a consumer of its own."""

    enable_kafka = False


class WorkerApp(BatchApp):
    """The app of one worker process. It opens the engines when it starts, not when it is imported.

    Raises FixRequest for agents or a log that cannot be."""

    BootStrategy = WebOnly

    def __init__(self, names: Sequence[str], settings: Settings, web_port: int = WEB_PORT) -> None:
        check_names(names)
        self._config = config_of(settings)
        super().__init__(
            APP_ID,
            broker=faust_urls(self._config),
            datadir=settings.state / "faust",
            web_bind=settings.host,
            web_host=HOST,
            web_router_enabled=False,
            web_tables_enabled=False,
            web_port=web_port,
        )
        self.health = AgentHealth()
        self.groups: list[GroupApp] = []
        self._names = names
        self._settings = settings
        self._rng = Random()  # noqa: S311 - jitter, nothing secret

    def is_ready(self) -> bool:
        """Return whether every agent makes progress."""
        return len(self.health.reasons()) == len(self.groups) > 0 and self.health.is_ready()

    def on_webserver_init(self, web: Web) -> None:
        """Add this platform's views to Faust's."""
        for view in VIEWS:
            web.add_view(view)

    async def on_start(self) -> None:
        """Do nothing of what Faust does for a consumer of its own."""
        self.finalize()

    async def on_started(self) -> None:
        """Open the engines; start a group for each agent."""
        await super().on_started()
        stack = contextlib.ExitStack()
        self.add_context(stack)
        log = open_event_log(self._settings)
        stack.callback(log.close)
        agents = await asyncio.to_thread(open_agents, self._names, self._settings, log, stack)
        self.groups = [self._group(agent, log) for agent in agents]
        for group in self.groups:
            self.add_dependency(group)
        await asyncio.gather(*(group.maybe_start() for group in self.groups))

    async def on_stop(self) -> None:
        """Stop the groups side by side: each flushes, commits, and leaves."""
        await asyncio.gather(*(group.stop() for group in self.groups))
        await super().on_stop()

    def _group(self, agent: Agent, log: EventLog) -> GroupApp:
        def new_loop(agent: Agent, stop: threading.Event, join: Join) -> AgentLoop:
            rng = Random(self._rng.random())  # noqa: S311
            return AgentLoop(log, agent, stop, RunnerPolicy(), self.health, rng, _now_ms, join)

        self.health.waiting(agent.name, "starting")
        return GroupApp(agent, self._config, cast("CommittingLog", log), new_loop)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
