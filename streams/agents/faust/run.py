"""Runs a worker's Faust app in this process, as `marquee agents` does."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence
from typing import Any, Final

from faust.worker import Worker

from streams.agents.faust.worker import WorkerApp
from streams.errors import MarqueeError
from streams.settings import Settings

CHATTY: Final = {
    "aiokafka": logging.CRITICAL,
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    "streams.agents.faust": logging.WARNING,
}
"""What is said of every service's start and stop, and at every attempt to reach a broker that is away, is left out:
agents say what they wait for."""


class PlatformWorker(Worker):
    """Faust's worker, with this platform's logging and signals."""

    def __init__(self, app: WorkerApp, **kwargs: Any) -> None:
        super().__init__(app, quiet=True, override_logging=False, redirect_stdouts=False, **kwargs)
        self.spinner = None

    def install_signal_handlers(self) -> None:
        """Stop on a hangup as well: the terminal is gone, or the supervisor."""
        super().install_signal_handlers()
        self.loop.add_signal_handler(signal.SIGHUP, self._on_sigterm)

    async def _sentinel_task(self) -> None:
        """Do not wait for a second before the loop is closed."""


def run_worker(names: Sequence[str], settings: Settings, web_port: int | None) -> None:
    """Run until SIGTERM, SIGINT or SIGHUP; then flush, commit and leave the groups. web_port: None for no web server.

    Raises FixRequest for what cannot be, or the error that ended an agent."""
    for name, level in CHATTY.items():
        logging.getLogger(name).setLevel(level)
    app = WorkerApp(names, settings, **({} if web_port is None else {"web_port": web_port}))
    app.conf.web_enabled = web_port is not None
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    worker = PlatformWorker(app, loop=loop)
    try:
        worker.execute_from_commandline()
    except SystemExit as ended:
        if isinstance(ended.__context__, MarqueeError):
            raise ended.__context__ from None
        if ended.code:
            raise
