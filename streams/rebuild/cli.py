"""`marquee rebuild`: the command."""

from __future__ import annotations

import contextlib
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from streams.rebuild.build import Engines, Rebuilt, Report
    from streams.stores.generations import Generations


class From(StrEnum):
    """Where records come from."""

    auto = "auto"
    log = "log"
    warehouse = "warehouse"


def rebuild(
    source: Annotated[
        From,
        typer.Option(
            "--from",
            help="auto: the log, and what retention has deleted there from the warehouse; log: the log alone;"
            " warehouse: all that is there, the rest from the log.",
        ),
    ] = From.auto,
    kinds: Annotated[
        str, typer.Option(help="Kinds of state, with commas between; those folded together come together.")
    ] = "",
    switch: Annotated[bool, typer.Option(help="Have the new states serve once they have caught up.")] = True,
    keep_old: Annotated[bool, typer.Option("--keep-old", help="Do not delete the former states afterwards.")] = False,
    delete_old: Annotated[bool, typer.Option("--delete-old", help="Only delete former states that were kept.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Only show which states there are.")] = False,
) -> None:
    """Build all feature states anew beside those that serve, and change over. Run again, it goes on where it ended."""
    from rich.console import Console

    from streams.rebuild.build import drop_former, groups_of, open_engines
    from streams.rebuild.build import rebuild as build
    from streams.settings import load_settings
    from streams.stores.generations import read_generations

    console = Console(highlight=False, soft_wrap=True)
    groups = groups_of(kind.strip() for kind in kinds.split(",") if kind.strip())
    with contextlib.ExitStack() as stack:
        engines = open_engines(load_settings(), stack)
        if status:
            _print_status(console, read_generations(engines.durable))
            return
        with _progress(console) as report:
            if delete_old:
                drop_former(engines, groups, report)
                done = None
            else:
                done = build(engines, groups, source.value, switch=switch, keep_old=keep_old, report=report)
        if done is not None:
            _print_done(console, engines, done)
        _print_status(console, read_generations(engines.durable))


@contextlib.contextmanager
def _progress(console: Console) -> Iterator[Report]:
    """Show one line for each group's phase while the block runs."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    from streams.rebuild.build import Progress as Where

    columns = (TextColumn("{task.description:<26}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console) as shown:

        def report(where: Where) -> None:
            name = f"{where.group}: {where.phase}"
            if name not in tasks:
                tasks[name] = shown.add_task(name, total=None)
            shown.update(tasks[name], completed=where.done, total=where.total or None)

        yield report


def _print_done(console: Console, engines: Engines, done: Rebuilt) -> None:
    for group, number in done.numbers.items():
        fed = done.fed[group]
        console.print(
            f"{group}: generation {number} from {fed.from_warehouse:,} records of the warehouse"
            f" and {fed.from_log:,} of the log" + (", serves now" if done.switched else ", does not serve yet")
        )
    for place, count in done.left_out.items():
        console.print(f"left out: {count:,} records of {place} that the log no longer has")
    if any(done.kept.values()):
        console.print("former states are kept: `marquee rebuild --delete-old` once no process reads them")


def _print_status(console: Console, found: Generations) -> None:
    from streams.features.replay import feature_versions
    from streams.stores.generations import GROUPS

    own = feature_versions()
    for group, kinds in GROUPS.items():
        versions = ", ".join(f"{kind} {found.versions.get(kind, 'of an unknown version')}" for kind in kinds)
        other = [kind for kind in kinds if found.versions.get(kind, own[kind]) != own[kind]]
        line = f"{group}: generation {found.serving(group)} serves ({versions})"
        if group in found.building:
            line += f"; {found.building[group]} is being built"
        if found.former.get(group):
            line += f"; kept: {', '.join(map(str, found.former[group]))}"
        console.print(line + (f"; this code has {', '.join(f'{k} {own[k]}' for k in other)}" if other else ""))
