"""Commands that are imported when they are used: a name, where it is, and what `--help` says of it."""

from __future__ import annotations

import importlib
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


class Lazy(NamedTuple):
    """A command or group of another package: `attribute` of `module` is a function or a typer app."""

    module: str
    attribute: str
    help: str


LAZY: Final[dict[str, Lazy]] = {
    "serve": Lazy("serving.cli", "serve", "Serve homepages and the API (one process)."),
    "agents": Lazy("streams.agents.app", "agents", "Run agents: features, sink."),
    "train": Lazy("training_bridge.cli", "train", "Train a model on the warehouse and promote it."),
    "models": Lazy("training_bridge.cli", "models_app", "Registered models: list, promote, roll back."),
    "experiments": Lazy(
        "serving.experiments.cli", "experiments_app", "Experiments: draft, start, ramp, stop, decide, ship, undo."
    ),
    "keys": Lazy("serving.experiments.keys_cli", "keys_app", "Keys of the API: create, list, revoke."),
    "precompute": Lazy(
        "training_bridge.cli", "precompute", "Compute pages ahead, for when a fresh one cannot be made."
    ),
    "replay": Lazy("streams.cli", "replay_app", "Put a data set's events into the log."),
    "simulate": Lazy("streams.cli", "simulate", "Let simulated members visit their homepages."),
    "rebuild": Lazy("streams.rebuild.cli", "rebuild", "Build feature states anew beside those that serve."),
    "topics": Lazy("streams.topics_cli", "topics_app", "Topics of the log: list, describe, grow."),
    "engines": Lazy("marquee.engines.cli", "engines_app", "Kafka, Cassandra, Redis and PostgreSQL on this machine."),
    "dead-letters": Lazy("streams.cli", "dead_letters_app", "Messages that could not be processed: list, redrive."),
    "db": Lazy("streams.cli", "db_app", "The SQL database's tables: current, upgrade."),
}


class LazyGroup(TyperGroup):
    """A group with the commands of LAZY beside its own."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return all names, in the order they are shown in."""
        return [*super().list_commands(ctx), *LAZY]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command as `--help` lists it."""
        lazy = LAZY.get(cmd_name)
        return super().get_command(ctx, cmd_name) if lazy is None else TyperCommand(cmd_name, help=lazy.help)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command to run; only now is its module imported."""
        lazy = LAZY.get(args[0])
        return super().resolve_command(ctx, args) if lazy is None else (args[0], load(args[0], lazy), args[1:])


def load(name: str, lazy: Lazy) -> Any:
    """Return the command behind a lazy entry."""
    found = getattr(importlib.import_module(lazy.module), lazy.attribute)
    holder = typer.Typer(add_completion=False, rich_markup_mode=None)
    if not isinstance(found, typer.Typer):
        holder.command(name, help=found.__doc__)(found)
        return get_command(holder)
    holder.add_typer(found, name=name)
    group: Any = get_command(holder)
    return group.commands[name]
