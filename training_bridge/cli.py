"""The commands of the training bridge: train, models, precompute. Heavy modules are imported when a command runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from streams.settings import Settings

models_app = typer.Typer(name="models", no_args_is_help=True, help="Registered models: list, promote, roll back.")

Alias = Annotated[str, typer.Option(help="The alias that moves.")]
Name = Annotated[str, typer.Argument(help="A version, the start of one (6 characters or more) or an alias.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the change.", show_default=False)]


def train(
    train_share: Annotated[float, typer.Option(help="Share of the events before the split.")] = 0.8,
    split_ms: Annotated[int | None, typer.Option(help="Split at this time instead (Unix, ms).")] = None,
    until_ms: Annotated[int | None, typer.Option(help="Leave out events from this time on (Unix, ms).")] = None,
    predictions: Annotated[int, typer.Option(help="Held-out events to predict, at most.")] = 1_000,
    config: Annotated[str, typer.Option(help="Parameters of the ranker that differ, as JSON.")] = "{}",
    seed: Annotated[int, typer.Option(help="Seed of everything drawn at random.")] = 1,
    tolerance: Annotated[float, typer.Option(help="Share of NDCG@10 a champion-to-be may be worse.")] = 0.02,
    promote: Annotated[str, typer.Option(help="Reason to promote it whatever was measured.")] = "",
) -> None:
    """Train a model on the warehouse; it becomes champion if it is the first, or not worse than the one that is."""
    from training_bridge.flows.launch import FlowFailed
    from training_bridge.flows.training import run_training

    given = {
        "train-share": train_share,
        "split-ms": split_ms,
        "until-ms": until_ms,
        "predictions": predictions,
        "config": config,
        "seed": seed,
        "tolerance": tolerance,
        "promote": promote,
    }
    try:
        run_training(given, _settings(), _console())
    except FlowFailed as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(1) from None


def precompute(
    max_age_s: Annotated[
        float, typer.Option(help="Leave pages younger than this that nothing has changed.", min=0)
    ] = 3600,
    limit: Annotated[int, typer.Option(help="Members, the most recently seen first.", min=1)] = 1_000_000,
) -> None:
    """Compute every member's page ahead, for when a fresh one cannot be made. Run again, it goes on where it was."""
    from training_bridge.precompute_job import report_line, run_precompute

    done = run_precompute(_settings(), _console(), max_age_s=max_age_s, limit=limit, clock_ms=_now_ms)
    typer.echo(report_line(done))


@models_app.command("list")
def list_models() -> None:
    """List all models, the newest first."""
    from training_bridge import registry
    from training_bridge.model_report import list_lines
    from training_bridge.workspace import open_workspace

    with open_workspace(_settings()) as workspace:
        models = registry.list_models(workspace.sql)
    for line in list_lines(models):
        typer.echo(line)


@models_app.command("show")
def show(name: Name) -> None:
    """Show where a model comes from: run, dataset, log offsets, metrics; and where it served."""
    from training_bridge import registry
    from training_bridge.model_report import lineage_lines
    from training_bridge.workspace import open_workspace

    with open_workspace(_settings()) as workspace:
        found = registry.lineage(workspace.sql, workspace.blobs, name)
    for line in lineage_lines(found):
        typer.echo(line)


@models_app.command("promote")
def promote_model(name: Name, reason: Reason, alias: Alias = "champion") -> None:
    """Point an alias to a model, after its files have been verified. Serving follows within seconds."""
    from training_bridge import registry
    from training_bridge.workspace import open_workspace

    with open_workspace(_settings()) as workspace:
        version = registry.find_model(workspace.sql, name).version
        registry.verify(workspace.blobs, version)
        moved = registry.set_alias(workspace.sql, alias, version, reason, _now_ms())
    typer.echo(f"{alias} is {version[:12]}" if moved else f"{alias} was {version[:12]} already")


@models_app.command("rollback")
def roll_back(reason: Reason, alias: Alias = "champion") -> None:
    """Point an alias back to the model it pointed to before its newest promotion."""
    from training_bridge import registry
    from training_bridge.workspace import open_workspace

    with open_workspace(_settings()) as workspace:
        version = registry.rollback(workspace.sql, workspace.blobs, alias, reason, _now_ms())
    typer.echo(f"{alias} is {version[:12]} again")


def _settings() -> Settings:
    from streams.settings import load_settings

    return load_settings()


def _console() -> Console:
    from rich.console import Console

    return Console(soft_wrap=True)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
