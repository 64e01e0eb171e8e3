"""The commands of the streams: replay data sets, simulate members, see to dead letters and the SQL database."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from streams.event_log.protocol import EventLog
    from streams.importers.dataset import Dataset
    from streams.simulation.visitors import Visitors

replay_app = typer.Typer(name="replay", no_args_is_help=True, help="Put a data set's events into the log.")
dead_letters_app = typer.Typer(name="dead-letters", no_args_is_help=True, help="Messages that could not be processed.")
db_app = typer.Typer(name="db", no_args_is_help=True, help="The SQL database's tables.")

Speed = Annotated[str | None, typer.Option(help="Multiple of event time, such as 1000x.")]
Rate = Annotated[float | None, typer.Option(help="Events a second.")]
Shift = Annotated[
    bool,
    typer.Option("--shift-to-now", help="Move all event times by whole days so that the last is within a day of now."),
]
Folder = Annotated[Path, typer.Argument(help="Folder of the data set's CSV files.", show_default=False)]


@replay_app.command("movielens")
def replay_movielens(path: Folder, speed: Speed = None, rate: Rate = None, shift_to_now: Shift = False) -> None:
    """Replay MovieLens: ratings.csv and movies.csv. As fast as it goes unless --speed or --rate says otherwise.

    An interrupted replay goes on where it stopped; a finished one does nothing.
    """
    from streams.importers.movielens import read_movielens

    _replay(lambda: read_movielens(path), speed, rate, shift_to_now)


@replay_app.command("kuairand")
def replay_kuairand(path: Folder, speed: Speed = None, rate: Rate = None, shift_to_now: Shift = False) -> None:
    """Replay KuaiRand: its log of impressions and its video features. As fast as it goes unless told otherwise.

    An interrupted replay goes on where it stopped; a finished one does nothing.
    """
    from streams.importers.kuairand import read_kuairand

    _replay(lambda: read_kuairand(path), speed, rate, shift_to_now)


@replay_app.command("generated")
def replay_generated(
    members: Annotated[int, typer.Option(min=1, max=100_000)] = 600,
    events: Annotated[int, typer.Option(min=1, max=10_000_000)] = 60_000,
    titles: Annotated[int, typer.Option(min=2, max=100_000)] = 2_400,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    speed: Speed = None,
    rate: Rate = None,
) -> None:
    """Replay a generated past of members with tastes, moved to now."""
    from streams.simulation.generated import generate_dataset

    _replay(lambda: generate_dataset(seed, titles, members, events), speed, rate, shift_to_now=True)


def _replay(read: Callable[[], Dataset], speed: str | None, rate: float | None, shift_to_now: bool) -> None:
    from rich.console import Console

    from streams.importers.pace import Pace, parse_speed
    from streams.importers.report import replay_with_progress, replayed_lines
    from streams.settings import load_settings
    from streams.stores.sql import open_sql

    console = Console()
    pace = Pace(rate, None if speed is None else parse_speed(speed))
    with console.status("reading"):
        dataset = read()
    settings = load_settings()
    engine = open_sql(settings)
    try:
        with open_log() as log:
            replayed = replay_with_progress(dataset, log, engine, pace, shift_to_now=shift_to_now, console=console)
    finally:
        engine.dispose()
    for line in replayed_lines(dataset, replayed):
        console.print(line, highlight=False)


def simulate(
    url: Annotated[str | None, typer.Option(help="Where the platform serves; this machine's by default.")] = None,
    members: Annotated[int, typer.Option(help="How many members there are.")] = 200,
    rate: Annotated[float | None, typer.Option(help="Visits a second; as fast as answers come by default.")] = None,
    pages: Annotated[int | None, typer.Option(help="Stop after so many visits.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after so many seconds.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed and pages give the same events.", min=0)] = 1,
) -> None:
    """Let simulated members with tastes visit their homepages and act on them, until Ctrl-C or the bound given."""
    from streams.settings import load_settings
    from streams.simulation.tastes import World
    from streams.simulation.visitors import Plan, Visitors

    settings = load_settings()
    plan = Plan(url or f"http://{settings.host}:{settings.port}", members, rate, pages, seconds, seed)
    _run_visitors(Visitors(plan, World()))


def _run_visitors(visitors: Visitors) -> None:
    import asyncio

    from rich.console import Console

    from streams.simulation.report import row_table, summary_lines, watch_report

    console = Console()
    with watch_report(visitors.report, console):
        try:
            asyncio.run(visitors.run())
        except KeyboardInterrupt:
            console.print("stopped", highlight=False)
    if visitors.report.rows:
        console.print(row_table(visitors.report))
    for line in summary_lines(visitors.report):
        console.print(line, highlight=False)


@dead_letters_app.command("list")
def list_letters(
    limit: Annotated[int, typer.Option(help="So many at most.", min=1, max=100_000)] = 20,
    reason: Annotated[str | None, typer.Option(help="Only those put aside for this reason.")] = None,
) -> None:
    """List messages that were put aside, newest first: where they came from, when (UTC), and why."""
    from streams.agents.dead_letters import list_dead_letters

    with open_log() as log:
        letters = list_dead_letters(log, limit, reason)
    for letter in letters:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(letter.time_ms / 1000))
        typer.echo(f"{when}  {letter.topic}/{letter.partition}@{letter.offset}  {letter.reason}: {letter.detail}")
    if not letters:
        typer.echo("no dead letters")


@dead_letters_app.command("redrive")
def redrive_letters(
    reason: Annotated[str | None, typer.Option(help="Only those put aside for this reason.")] = None,
) -> None:
    """Append messages that were put aside to their topics anew, once their cause is mended."""
    from streams.agents.dead_letters import redrive

    with open_log() as log:
        count = redrive(log, lambda letter: reason in (None, letter.reason))
    typer.echo(f"{count:,} messages appended anew")


@db_app.command("current")
def show_revision() -> None:
    """Show the revision that the SQL database is at, and the one that this version needs."""
    from streams.stores.sql_schema import HEAD, schema_version

    with open_database() as engine:
        found = schema_version(engine)
        where = engine.url.render_as_string()
    state = "up to date" if found == HEAD else f"this version needs {HEAD}: `marquee db upgrade`"
    typer.echo(f"{where} is at revision {found or 'none'}; {state}")
    if found != HEAD:
        raise typer.Exit(1)


@db_app.command("upgrade")
def upgrade_tables() -> None:
    """Bring the SQL database's tables up to date. Every process does so at its first use, if its role may."""
    from streams.stores.sql_schema import HEAD, migrate, schema_version

    with open_database() as engine:
        before = schema_version(engine)
        migrate(engine)
    done = "was up to date" if before == HEAD else f"upgraded from {before or 'none'}"
    typer.echo(f"at revision {HEAD}: {done}")


@contextlib.contextmanager
def open_database() -> Iterator[sa.Engine]:
    """Open the SQL database that the settings name, for one command. Raises FixRequest for settings that cannot be."""
    from streams.settings import load_settings
    from streams.stores.sql import open_sql

    engine = open_sql(load_settings())
    try:
        yield engine
    finally:
        engine.dispose()


@contextlib.contextmanager
def open_log() -> Iterator[EventLog]:
    """Open the log that the settings name, for one command."""
    from streams.event_log.open import open_event_log
    from streams.settings import load_settings

    log = open_event_log(load_settings())
    try:
        yield log
    finally:
        log.close()
