"""The `marquee` command: each package's commands under one front door.

Modules are imported when their command runs, so that `--help` and errors are quick.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from marquee.lazy import LazyGroup
from streams.errors import MarqueeError

app = typer.Typer(
    name="marquee",
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A streaming feature and serving platform for personalised homepages.",
)


@app.callback()
def choose_state(
    context: typer.Context,
    state: Annotated[
        Path | None, typer.Option(help="The state folder [default: .marquee, or MARQUEE_STATE].", show_default=False)
    ] = None,
) -> None:
    from marquee.remembered import recall

    if state is not None:
        os.environ["MARQUEE_STATE"] = str(state)
    recall(os.environ, address=context.invoked_subcommand != "up")


@app.command()
def up(
    data: Annotated[
        Path | None, typer.Option(help="A MovieLens folder to start from; a generated past otherwise.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Where to serve [default: 8000, or MARQUEE_PORT].", min=1, max=65_535)
    ] = None,
) -> None:
    """Start the platform here: set it up if it is new, keep it running, stop it with Ctrl-C."""
    from marquee.up import run_platform
    from streams.settings import load_settings

    if port is not None:
        os.environ["MARQUEE_PORT"] = str(port)
    run_platform(load_settings(), data)


@app.command()
def reset(yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Empty the state folder: events, features, models, pages. There is no way back."""
    from marquee.state_folder import StateFolder
    from streams.settings import load_settings

    settings = load_settings()
    folder = StateFolder(settings)
    folder.check_marked()
    with folder.lock():
        if not yes:
            typer.confirm(f"Remove everything that Marquee keeps in {folder.path}?", abort=True)
        others = folder.empty()
    typer.echo(f"{folder.path} is empty" if not others else f"emptied; {folder.path} still holds {', '.join(others)}")
    urls = (settings.log_url, settings.hot_url, settings.durable_url, settings.sql_url)
    if servers := [settings.scheme_of(url) for url in urls if "://" in url]:
        typer.echo(f"{', '.join(servers)} keep what they hold (local ones: `marquee engines down --wipe`)")


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show what runs: lag by consumer group, counts, freshness, the champion."""
    from marquee.status import print_status
    from streams.settings import load_settings

    print_status(load_settings(), as_json)


@app.command()
def forget(
    member: Annotated[str, typer.Argument(help="The member's id.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a member from the stores and the warehouse, and name the models trained on them. There is no way back."""
    from marquee.forgetting import forget as remove
    from marquee.forgetting import forgotten_lines
    from streams.settings import load_settings

    if not yes:
        typer.confirm(f"Remove all that is kept of member {member}?", abort=True)
    settings = load_settings()
    for line in forgotten_lines(remove(settings, member), settings.log_retention_ms):
        typer.echo(line)


def main() -> None:
    """Run the command line. An error that Marquee raises on purpose is one red line and exit code 1."""
    from marquee.lifeline import watch_if_supervised

    watch_if_supervised()
    try:
        app()
    except MarqueeError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
