"""The agents' process: engines by settings, agents by name, run until a signal says stop."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Final

import typer

from streams.agents.catalogue_source import CatalogueSource
from streams.agents.dead_letters import DeadLetters
from streams.agents.feature_agent import FeatureAgent
from streams.agents.health import AgentHealth
from streams.agents.health_server import health_server
from streams.agents.json_logs import log_json_to_stderr
from streams.agents.protocol import Agent
from streams.agents.runner import run_agents
from streams.agents.shown_agent import ShownAgent
from streams.agents.warehouse_sink import open_sink
from streams.errors import FixRequest, MarqueeError
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog
from streams.settings import Settings, load_settings
from streams.stores.open import open_durable, open_hot
from streams.stores.sql import open_sql

logger = logging.getLogger(__name__)

FEATURES: Final = "features"
SINK: Final = "sink"
NAMES: Final = (FEATURES, SINK)

RETENTION_INTERVAL_S: Final = 10.0
"""A topic that is full takes appends again about this long after its agents have caught up."""


def agents(
    names: Annotated[list[str], typer.Argument(help="features, sink, or both.", show_default=False)],
    metrics_port: Annotated[
        int | None, typer.Option(help="Serve /metrics and /readyz on this port of 127.0.0.1.", show_default=False)
    ] = None,
) -> None:
    """Run agents until SIGTERM or Ctrl-C: features folds events into states, sink writes the warehouse."""
    main(names, load_settings(), metrics_port)


def main(names: Sequence[str], settings: Settings, metrics_port: int | None = None) -> None:
    """Run the named agents until a signal. Raises FixRequest for an unknown name."""
    log_json_to_stderr()
    unknown = set(names) - set(NAMES)
    if unknown or not names:
        raise FixRequest("agents", f"{', '.join(sorted(unknown)) or 'none'} named; there are {', '.join(NAMES)}")
    stop = stop_on_signals()
    health = AgentHealth()
    with contextlib.ExitStack() as stack:
        log = open_event_log(settings)
        stack.callback(log.close)
        chosen: list[Agent] = []
        if FEATURES in names:
            chosen += _feature_agents(settings, log, stack)
        if SINK in names:
            chosen.append(open_sink(settings, log))
            stack.enter_context(retention(log, RETENTION_INTERVAL_S))
        if metrics_port is not None:
            stack.enter_context(health_server(health, metrics_port))
        logger.info("agents start", extra={"agents": [agent.name for agent in chosen]})
        run_agents(log, chosen, stop, health=health)
        logger.info("agents stopped")


def _feature_agents(settings: Settings, log: EventLog, stack: contextlib.ExitStack) -> list[Agent]:
    engine = open_sql(settings)
    stack.callback(engine.dispose)
    hot, durable = open_hot(settings), open_durable(settings)
    stack.callback(hot.close)
    stack.callback(durable.close)
    dead_letters = DeadLetters(log)
    return [
        FeatureAgent(CatalogueSource(engine), hot, durable, dead_letters, log),
        ShownAgent(hot, durable, dead_letters, log),
    ]


def stop_on_signals() -> threading.Event:
    """Return an event that SIGTERM, SIGINT and SIGHUP set; a second one ends the process at once, as it did before."""
    stop = threading.Event()
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}

    def on_signal(number: int, _frame: object) -> None:
        stop.set()
        for each, handler in kept.items():
            signal.signal(each, handler)

    for number in kept:
        signal.signal(number, on_signal)
    return stop


@contextlib.contextmanager
def retention(
    log: EventLog, interval_s: float, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
) -> Iterator[None]:
    """Have the log's retention enforced every `interval_s` while the block runs."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(interval_s):
            try:
                deleted = log.enforce_retention(clock_ms())
            except MarqueeError as error:  # of whatever kind: where retention ended for good, the log would fill up
                logger.warning("retention waits", extra={"error": str(error)})
            else:
                if deleted:
                    logger.info("retention deleted records", extra={"records": deleted})

    thread = threading.Thread(target=work, name="retention", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
