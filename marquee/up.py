"""`marquee up`: one command that sets the platform up, runs it, and stops it cleanly."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import sqlalchemy as sa
from rich.console import Console

from marquee import commands
from marquee.listening import listen
from marquee.remembered import remember
from marquee.set_up import LATER, NEEDED, SetUp, check_dataset
from marquee.state_folder import LOGS, StateFolder
from marquee.supervisor import Supervisor
from marquee.waiting import wait_until_ready
from serving.experiments.key_files import make_first_key
from streams.errors import MarqueeError, TryAgain
from streams.event_log.open import open_event_log
from streams.settings import Settings
from streams.stores.open import open_durable
from streams.stores.sql import open_sql


def run_platform(settings: Settings, data: Path | None) -> None:
    """Run the platform until Ctrl-C or SIGTERM. Raises FixRequest or TryAgain when it cannot be started."""
    console = Console(soft_wrap=True)
    folder = StateFolder(settings)
    if not folder.is_marked():
        check_dataset(data)  # before anything is made
    folder.claim()
    with folder.lock():
        remember(settings)
        supervisor = Supervisor(
            settings.state / LOGS, lambda sentence: console.print(sentence, style="yellow", markup=False)
        )
        with listen(settings.host, settings.port) as listener, stop_signals():
            try:
                _start(settings, data, folder, supervisor, listener, console)
                threading.Event().wait()
            except KeyboardInterrupt:
                console.print("stopping", style="dim")
            finally:
                ignore_stop_signals()
                supervisor.stop()
    console.print(f"stopped; everything is kept in {settings.state}", style="dim", highlight=False)


@contextlib.contextmanager
def stop_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGHUP into KeyboardInterrupt, as Ctrl-C is; put the handlers back afterwards."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    kept = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def ignore_stop_signals() -> None:
    """Let nothing interrupt the stopping itself, which is bounded."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _start(
    settings: Settings,
    data: Path | None,
    folder: StateFolder,
    supervisor: Supervisor,
    listener: socket.socket,
    console: Console,
) -> None:
    started_s = time.monotonic()
    log, engine = open_event_log(settings), open_sql(settings)
    try:
        set_up = SetUp(settings, folder, supervisor, log, engine, console, settings.state / LOGS)
        set_up.check_source(data)
        is_new = not set_up.is_done(NEEDED)
        supervisor.start(commands.features_agent(settings))
        supervisor.start(commands.sink_agent(settings, quick=is_new))
        supervisor.start(commands.serving(settings, listener))
        _make_key(settings, engine, console)
        if is_new:
            console.print(f"Setting up {settings.state}", style="bold", highlight=False)
            set_up.run(NEEDED)
        is_complete = set_up.is_done(NEEDED)
        missing = wait_until_ready(settings.host, settings.port, degraded=not is_complete)
        supervisor.start(commands.experiment_agent(settings))
        supervisor.start(commands.watcher(settings))
        _announce(settings, console, missing, time.monotonic() - started_s)
        if is_complete:
            set_up.run(LATER)
    finally:
        log.close()
        engine.dispose()


def _make_key(settings: Settings, engine: sa.Engine, console: Console) -> None:
    """Have a key there that commands can use; a database that is away has one later, at the next start."""
    try:
        make_first_key(settings, engine, time.time_ns() // 1_000_000)
    except TryAgain as error:
        console.print(f"no key of the API could be made: {error}", style="yellow", markup=False)


def _announce(settings: Settings, console: Console, missing: str | None, seconds: float) -> None:
    address = f"http://{settings.host}:{settings.port}"
    member = _someone(settings)
    console.print(f"\n[bold]Marquee serves at {address}[/bold] [dim](ready in {seconds:.1f} s)[/dim]", highlight=False)
    if missing is not None:
        console.print(f"  not all is well: {missing}", style="yellow", markup=False)
    if member is not None:
        console.print(f"  open   {address}/?member_id={member}", markup=False, highlight=False)
        console.print(f"  fetch  curl '{address}/homepage?member_id={member}'", markup=False, highlight=False)
    marquee = _command(settings)
    console.print(f"  try    {marquee} simulate --url {address}", markup=False, highlight=False)
    console.print(f"  watch  {marquee} status   (Ctrl-C here stops everything)", markup=False, highlight=False)


def _command(settings: Settings) -> str:
    """Return how to call this platform's `marquee` from the current folder."""
    command = Path(sys.prefix) / "bin" / "marquee"
    here = command.relative_to(Path.cwd()) if command.is_relative_to(Path.cwd()) else command
    return str(here) if settings.state == Settings.model_fields["state"].default else f"{here} --state {settings.state}"


def _someone(settings: Settings) -> str | None:
    """Return a member to try, seen lately; None if that cannot be told."""
    durable = open_durable(settings)
    try:
        return next(iter(durable.member_ids(1)), None)
    except MarqueeError:
        return None
    finally:
        durable.close()
