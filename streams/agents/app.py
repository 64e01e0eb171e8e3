"""The agents' process: engines by settings, agents by name, run until a signal says stop."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Final

import typer

from streams.agents.health import AgentHealth
from streams.agents.health_server import health_server
from streams.agents.json_logs import log_json_to_stderr
from streams.agents.opening import SINK, check_names, open_agents
from streams.agents.repeating import repeating
from streams.agents.runner import run_agents
from streams.errors import MarqueeError
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog
from streams.settings import Settings, load_settings

logger = logging.getLogger(__name__)

SWITCH_INTERVAL_S: Final = 0.0005
"""How long a thread may hold the interpreter while others wait: an agent's turn goes from thread to thread (fetching,
folding, writing beside) a dozen times, and might pay Python's own 5 ms at each."""

RETENTION_INTERVAL_S: Final = 10.0
"""A topic that is full takes appends again about this long after its agents have caught up."""


def agents(
    names: Annotated[list[str], typer.Argument(help="features, sink, experiments: one or more.", show_default=False)],
    metrics_port: Annotated[
        int | None,
        typer.Option(help="Serve /metrics and /readyz on this port [address: MARQUEE_HOST].", show_default=False),
    ] = None,
) -> None:
    """Run agents until SIGTERM or Ctrl-C: features folds events into states, sink writes the warehouse, experiments
    counts what members do who were exposed."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    main(names, load_settings(), metrics_port)


def main(names: Sequence[str], settings: Settings, metrics_port: int | None = None) -> None:
    """Run the named agents until a signal. On Kafka they run as a Faust app. Raises FixRequest for an unknown name."""
    log_json_to_stderr()
    check_names(names)
    logger.info("agents start", extra={"agents": list(names)})
    if settings.scheme_of(settings.log_url) == "kafka":
        from streams.agents.faust.run import run_worker  # Faust takes a second to import

        run_worker(names, settings, metrics_port)
    else:
        _run_threads(names, settings, metrics_port)
    logger.info("agents stopped")


def _run_threads(names: Sequence[str], settings: Settings, metrics_port: int | None) -> None:
    stop = stop_on_signals()
    health = AgentHealth()
    with contextlib.ExitStack() as stack:
        log = open_event_log(settings)
        stack.callback(log.close)
        agents = open_agents(names, settings, log, stack)
        if SINK in names:
            stack.enter_context(retention(log, RETENTION_INTERVAL_S))
        if metrics_port is not None:
            stack.enter_context(health_server(health, metrics_port, settings.host))
        run_agents(log, agents, stop, health=health)


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

    def enforce() -> None:
        try:
            deleted = log.enforce_retention(clock_ms())
        except MarqueeError as error:  # of whatever kind: where retention ended for good, the log would fill up
            logger.warning("retention waits", extra={"error": str(error)})
        else:
            if deleted:
                logger.info("retention deleted records", extra={"records": deleted})

    with repeating(enforce, interval_s, "retention"):
        yield
