"""`marquee experiments`: from a definition in a file to a shipped winner, by the API of a running platform."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from serving.experiments.client import ExperimentsClient

experiments_app = typer.Typer(
    name="experiments", no_args_is_help=True, help="Experiments: draft, start, ramp, stop, decide, ship, undo."
)

File = Annotated[Path, typer.Argument(help="A definition, JSON or TOML.", show_default=False)]
Id = Annotated[str, typer.Argument(metavar="ID", help="The experiment's id.", show_default=False)]
Reason = Annotated[str, typer.Option(help="Why; it is kept in the audit trail.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@experiments_app.callback()
def connect(
    context: typer.Context,
    url: Annotated[str | None, typer.Option(help="Where the platform serves; this machine's by default.")] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(help="A file with the key [default: that of `marquee up`].", envvar="MARQUEE_KEY_FILE"),
    ] = None,
) -> None:
    def client() -> ExperimentsClient:
        from serving.experiments.client import ExperimentsClient
        from serving.experiments.key_files import key_for, read_key
        from streams.settings import load_settings

        settings = load_settings()
        address = url or f"http://{settings.host}:{settings.port}"
        return ExperimentsClient(address, read_key(key_file) if key_file else key_for(settings, address))

    context.obj = client


@experiments_app.command("validate")
def validate(context: typer.Context, file: File) -> None:
    """Say all that is wrong with a definition, and keep nothing."""
    from serving.experiments.definition_file import read_definition_file

    found = _client(context).post("validate", body=read_definition_file(file))
    for problem in found["errors"]:
        typer.echo(f"{problem['field']}: {problem['fix']}")
    if not found["valid"]:
        raise typer.Exit(1)
    typer.echo(f"{file} can be run")


@experiments_app.command("create")
def create(context: typer.Context, file: File) -> None:
    """Draft an experiment."""
    from serving.experiments.definition_file import read_definition_file

    _done(context, lambda client: client.post(body=read_definition_file(file)))


@experiments_app.command("edit")
def edit(
    context: typer.Context,
    file: File,
    revision: Annotated[
        int | None, typer.Option(help="The revision that you have read; the newest by default.")
    ] = None,
) -> None:
    """Replace a definition: all of a draft; once it has started, words and testers alone."""
    from serving.experiments.definition_file import read_definition_file
    from streams.errors import FixRequest

    definition = read_definition_file(file)
    experiment_id = definition.get("id")
    if not isinstance(experiment_id, str):
        raise FixRequest("id", f"{file} has none; it says which experiment is edited")

    def put(client: ExperimentsClient) -> Any:
        read = client.get(experiment_id)["revision"] if revision is None else revision
        return client.put(experiment_id, body=definition, revision=read)

    _done(context, put)


@experiments_app.command("list")
def list_all(
    context: typer.Context,
    status: Annotated[list[str] | None, typer.Option(help="Only those of this status; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """List experiments by id."""
    from serving.experiments.tables_shown import experiments_table

    pages = _client(context).pages(status=status, limit=200)
    _show([experiment for page in pages for experiment in page["experiments"]], as_json, experiments_table)


@experiments_app.command("show")
def show(context: typer.Context, experiment_id: Id, as_json: AsJson = False) -> None:
    """Show one experiment."""
    from serving.experiments.tables_shown import experiment_table

    _show(_client(context).get(experiment_id), as_json, experiment_table)


@experiments_app.command("audit")
def audit(context: typer.Context, experiment_id: Id, as_json: AsJson = False) -> None:
    """Show who did what, when and why, from the draft on."""
    from serving.experiments.tables_shown import audit_table

    pages = _client(context).pages(experiment_id, "audit", limit=200)
    _show([entry for page in pages for entry in page["entries"]], as_json, audit_table)


@experiments_app.command("design")
def design(
    context: typer.Context,
    file: File,
    mean: Annotated[float | None, typer.Option(help="Of the primary metric; of its past by default.")] = None,
    variance: Annotated[float | None, typer.Option(help="Of one member's number.")] = None,
    members_a_day: Annotated[float | None, typer.Option(help="Who come for the first time.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say how many members and days a definition's effect takes, by the past of its primary metric."""
    from serving.experiments.definition_file import read_definition_file
    from serving.experiments.results_shown import design_shown

    body, given = read_definition_file(file), {"mean": mean, "variance": variance, "members_a_day": members_a_day}
    _show(_client(context).post("design", body=body, **given), as_json, design_shown)


@experiments_app.command("results")
def results(context: typer.Context, experiment_id: Id, as_json: AsJson = False) -> None:
    """Show what is known by now, and what the rules of the definition make of it."""
    from serving.experiments.results_shown import results_shown

    _show(_client(context).get(experiment_id, "results"), as_json, results_shown)


@experiments_app.command("recompute")
def recompute(experiment_id: Id) -> None:
    """Count an experiment anew from the warehouse, and hold it against what the agent has counted."""
    from serving.experiments.recomputing import lines_of, recompute_and_compare
    from streams.settings import load_settings

    found = recompute_and_compare(load_settings(), experiment_id)
    for line in lines_of(found):
        typer.echo(line)
    raise typer.Exit(bool(found.different))


@experiments_app.command("watch")
def watch(
    metrics_port: Annotated[
        int | None,
        typer.Option(help="Serve /metrics and /readyz on this port [address: MARQUEE_HOST].", show_default=False),
    ] = None,
) -> None:
    """Raise traffic as ramps have it, keep looks, stop what harms guardrails, until SIGTERM. `marquee up` runs one."""
    from serving.experiments.watching import run_watcher
    from streams.settings import load_settings

    run_watcher(load_settings(), metrics_port)


@experiments_app.command("start")
def start(context: typer.Context, experiment_id: Id) -> None:
    """Let members take part. What was fixed cannot be edited from now on."""
    _done(context, lambda client: client.post(experiment_id, "start", body={}))


@experiments_app.command("ramp")
def ramp(
    context: typer.Context,
    experiment_id: Id,
    traffic: Annotated[float, typer.Argument(help="Share of the layer's members, such as 0.2.", show_default=False)],
) -> None:
    """Let more members take part; nobody changes their variant."""
    _done(context, lambda client: client.post(experiment_id, "ramp", body={"traffic": traffic}))


@experiments_app.command("stop")
def stop(context: typer.Context, experiment_id: Id, reason: Reason) -> None:
    """Let nobody take part any more. It cannot be started again."""
    _done(context, lambda client: client.post(experiment_id, "stop", body={"reason": reason}))


@experiments_app.command("decide")
def decide(
    context: typer.Context,
    experiment_id: Id,
    verdict: Annotated[
        str | None, typer.Argument(help="ship, do_not_ship or inconclusive; what the rules say by default.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why, where the rules are overridden.")] = None,
) -> None:
    """Say what a stopped experiment's results mean: by the rules of its definition, or otherwise with a reason."""
    body = {name: value for name, value in (("verdict", verdict), ("reason", reason)) if value is not None}
    _done(context, lambda client: client.post(experiment_id, "decide", body=body))


@experiments_app.command("ship")
def ship(
    context: typer.Context,
    experiment_id: Id,
    reason: Reason,
    variant: Annotated[
        str | None, typer.Argument(help="The variant; the best by the rules or, of two, not the control.")
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option(help="variant: not the best by the rules; champion: a model promoted since the start."),
    ] = None,
) -> None:
    """Make a variant's patch what pages do by default, and its model the champion."""
    body: dict[str, Any] = {"reason": reason, "override": override or []}
    body |= {} if variant is None else {"variant": variant}
    _done(context, lambda client: client.post(experiment_id, "ship", body=body))


@experiments_app.command("undo")
def undo(context: typer.Context, experiment_id: Id, reason: Reason) -> None:
    """Make the defaults and the champion what they were before it was shipped."""
    _done(context, lambda client: client.post(experiment_id, "undo", body={"reason": reason}))


@experiments_app.command("archive")
def archive(context: typer.Context, experiment_id: Id, reason: Reason) -> None:
    """Put away what is not shipped."""
    _done(context, lambda client: client.post(experiment_id, "archive", body={"reason": reason}))


def _client(context: typer.Context) -> ExperimentsClient:
    client: ExperimentsClient = context.obj()
    return client


def _done(context: typer.Context, change: Callable[[ExperimentsClient], Any]) -> None:
    """Make a change; say in a line what the experiment is now, or each problem in one."""
    from serving.experiments.refusals import Invalid
    from serving.experiments.tables_shown import said

    try:
        typer.echo(said(change(_client(context))))
    except Invalid as error:
        for problem in error.problems:
            typer.secho(f"{problem.field}: {problem.fix}", fg="red", err=True)
        raise typer.Exit(1) from None


def _show(found: Any, as_json: bool, table: Callable[[Any], Any]) -> None:
    import json

    from rich.console import Console

    console = Console(soft_wrap=True)
    if as_json:
        console.out(json.dumps(found, indent=2, ensure_ascii=False), highlight=False)
    else:
        console.print(table(found))
