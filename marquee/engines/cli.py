"""`marquee engines up|down|status`: the real engines of this machine."""

from __future__ import annotations

import contextlib
import logging
import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from marquee.engines import compose
from marquee.engines.jars import jars
from marquee.engines.local import DEFAULT_FOLDER, DEFAULT_PORT, PLATFORM, Engines, EngineStatus
from streams.errors import FixRequest

engines_app = typer.Typer(
    name="engines", no_args_is_help=True, help="Kafka, Cassandra, Redis and PostgreSQL on this machine."
)

ENVIRONMENT: Final = "engines.env"
TEST_ENVIRONMENT: Final = "tests.env"

Folder = Annotated[Path, typer.Option(help="What they keep: data, logs, jars.", envvar="MARQUEE_ENGINES_FOLDER")]
BasePort = Annotated[
    int | None,
    typer.Option(
        help=f"Where their ports begin [default: {DEFAULT_PORT}].",
        envvar="MARQUEE_ENGINES_PORT",
        min=1024,
        max=65_400,
        show_default=False,
    ),
]
Docker = Annotated[bool, typer.Option("--docker", help="Through Docker instead of Java and the system's packages.")]


@engines_app.command("up")
def up(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Some of kafka, cassandra, redis, postgres, redis-cluster.", show_default=False),
    ] = None,
    folder: Folder = DEFAULT_FOLDER,
    base_port: BasePort = None,
    docker: Docker = False,
) -> None:
    """Start the engines that do not run, and return once each of them answers."""
    console = Console(soft_wrap=True, stderr=True)
    engines = Engines(folder, base_port)
    chosen = list(dict.fromkeys(names or PLATFORM))
    started_s = time.monotonic()
    with quiet_clients():
        if docker:
            compose.up(engines.base_port, chosen)
        else:
            _start(engines, chosen, console)
    console.print(f"all answer [dim]({time.monotonic() - started_s:.1f} s)[/dim]", highlight=False)
    write_environments(engines, chosen)
    for line in export_lines(engines.environment(chosen)):
        typer.echo(line)


@engines_app.command("down")
def down(
    folder: Folder = DEFAULT_FOLDER,
    wipe: Annotated[bool, typer.Option("--wipe", help="Remove their data, too. There is no way back.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    docker: Docker = False,
) -> None:
    """Stop the engines that were started here, the last first."""
    console = Console(soft_wrap=True, stderr=True)
    engines = Engines(folder)
    if wipe and not yes:
        typer.confirm(f"Remove all data of the engines in {folder}?", abort=True)
    if docker:
        compose.down(engines.base_port, wipe=wipe)
        return
    stop_all(engines, console)
    if wipe:
        engines.wipe()
        console.print(f"{folder} holds no data", style="dim", highlight=False)


@engines_app.command("status")
def status(
    folder: Folder = DEFAULT_FOLDER,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    docker: Docker = False,
) -> None:
    """Show which engines run and answer, and how the dead ones ended. Exit code 1 if one is dead."""
    engines = Engines(folder)
    if docker:
        compose.status(engines.base_port)
        return
    with quiet_clients():
        statuses = engines.status(ask=True)
    if as_json:
        typer.echo(msgspec.json.format(msgspec.json.encode(statuses)).decode())
    else:
        _print(statuses, Console(soft_wrap=True))
    if any(status.state == "dead" for status in statuses):
        raise typer.Exit(1)


@engines_app.command("fetch")
def fetch(folder: Folder = DEFAULT_FOLDER) -> None:
    """Fetch the jars of Kafka and Cassandra ahead; nothing is started."""
    for name in ("kafka", "cassandra"):
        typer.echo(jars(name, folder.absolute() / "jars"))


def stop_all(engines: Engines, console: Console) -> None:
    """Stop what runs, in the reverse of the order it is listed in."""
    for found in reversed(engines.status()):
        if found.state == "stopped":
            continue
        clean = engines.stop(found.name)
        how = "stopped" if clean and found.state != "dead" else "was dead" if found.state == "dead" else "killed"
        console.print(f"  {found.name:<14} {how}", highlight=False)


def write_environments(engines: Engines, names: Sequence[str]) -> None:
    """Write what to `source`: one file for platforms, one for tests."""
    tests = {f"MARQUEE_TEST_{name.upper().replace('-', '_')}_URL": engines.url(name) for name in names}
    for file, environment in ((ENVIRONMENT, engines.environment(names)), (TEST_ENVIRONMENT, tests)):
        (engines.folder / file).write_text("".join(f"{line}\n" for line in export_lines(environment)))


def export_lines(environment: dict[str, str]) -> list[str]:
    """Return an environment as lines for a shell."""
    return [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]


@contextlib.contextmanager
def quiet_clients() -> Iterator[None]:
    """Keep the clients' logs off the screen while they ask engines that do not answer yet."""
    handler = logging.NullHandler()
    loggers = [logging.getLogger(name) for name in ("aiokafka", "cassandra", "asyncio")]
    for each in loggers:
        each.addHandler(handler)
    try:
        yield
    finally:
        for each in loggers:
            each.removeHandler(handler)


def _start(engines: Engines, names: list[str], console: Console) -> None:
    columns = (SpinnerColumn(), TextColumn("  {task.description:<14}"), TimeElapsedColumn())
    started_s = time.monotonic()
    with Progress(*columns, console=console, transient=True) as progress:
        tasks = {name: progress.add_task(name, total=None) for name in names}

        def on_ready(name: str) -> None:
            progress.remove_task(tasks[name])
            seconds = time.monotonic() - started_s
            console.print(f"  {name:<14} {engines.url(name)} [dim]({seconds:.1f} s)[/dim]", highlight=False)

        try:
            engines.start_all(names, on_ready)
        except FixRequest:
            progress.stop()
            raise


def _print(statuses: Sequence[EngineStatus], console: Console) -> None:
    styles = {"running": "green", "frozen": "yellow", "dead": "red", "stopped": "dim"}
    for found in statuses:
        pids = f" (process {', '.join(map(str, found.pids))})" if found.pids else ""
        mute = "" if found.answers is not False else ", does not answer"
        console.print(
            f"[{styles[found.state]}]{found.name:<14} {found.state}{mute}[/]  {found.url}{pids}", highlight=False
        )
        for line in found.last_lines:
            console.print(f"    {line}", style="dim", markup=False, highlight=False)
        if found.last_lines:
            console.print(f"    more in {found.log}", style="dim", markup=False, highlight=False)
