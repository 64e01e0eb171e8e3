"""`marquee keys`: who may use the API, and as what. It works on the database, so that a lost key can be replaced."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from streams.cli import open_database

keys_app = typer.Typer(name="keys", no_args_is_help=True, help="Keys of the API: create, list, revoke.")


@keys_app.command("create")
def create(
    role: Annotated[str, typer.Option(help="viewer, editor or approver.", show_default=False)],
    name: Annotated[str, typer.Option(help="Who or what uses it; in the audit trail.", show_default=False)],
) -> None:
    """Make a key and show it, this once: only its hash is kept."""
    from serving.experiments.roles import add_key, new_key

    key = new_key()
    with open_database() as engine:
        add_key(engine, key, name, role, _now_ms())
    typer.echo(f"{role} key of {name}; it is not shown again:", err=True)
    typer.echo(key)


@keys_app.command("list")
def list_all() -> None:
    """List all keys, the newest first, by the start of their hash."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from serving.experiments.roles import list_keys

    with open_database() as engine:
        keys = list_keys(engine)
    if not keys:
        typer.echo("no keys; `marquee keys create` makes one")
        return
    table = Table("id", "name", "role", "created (UTC)", "revoked (UTC)", box=None)
    for key in keys:
        name = Text(key.name)  # it may hold brackets
        table.add_row(key.id, name, key.role, _date(key.created_at_ms), _date(key.revoked_at_ms))
    Console(soft_wrap=True).print(table)


@keys_app.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="The key's name or id.", show_default=False)]) -> None:
    """Let a key in no more, from the next request on."""
    from serving.experiments.roles import revoke_key

    with open_database() as engine:
        key = revoke_key(engine, name, _now_ms())
    typer.echo(f"{key.role} key of {key.name} is revoked")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _date(time_ms: int | None) -> str:
    return "" if time_ms is None else time.strftime("%Y-%m-%d %H:%M", time.gmtime(time_ms / 1_000))
