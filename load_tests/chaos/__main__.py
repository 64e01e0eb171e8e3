"""`make chaos`: strike a platform at random moments, then compare everything with a clean offline replay."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from load_tests.chaos.grounds import embedded_ground, real_ground
from load_tests.chaos.run import ChaosReport, run_chaos
from load_tests.real_engines import EngineKind


def main(
    faults: Annotated[int, typer.Option(help="How many times something goes wrong", min=0)] = 50,
    seed: Annotated[int, typer.Option(help="Of moments, faults and generated events")] = 1,
    engines: Annotated[EngineKind, typer.Option(help="On which engines; real ones are started for the run")] = "real",
) -> None:
    """Run the chaos; exit with 1 if anything was lost, counted twice, answered wrongly or not answered."""
    console = Console()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="marquee-chaos-")))
        if engines == "embedded":
            ground = embedded_ground(folder)
        else:
            console.print("starting Kafka, Cassandra, Redis and PostgreSQL")
            ground = stack.enter_context(real_ground(folder))
        report = run_chaos(ground, faults, seed, console.print)
    console.print(_table(report))
    for wrong in (*report.comparison.differences, *report.untrue):
        console.print(f"[red]{wrong}")
    raise typer.Exit(not report.is_clean)


def _table(report: ChaosReport) -> Table:
    comparison = report.comparison
    table = Table(title="After the chaos", title_justify="left", show_header=False)
    reasons = ", ".join(f"{why} {count:,}" for why, count in report.degraded.most_common())
    rows = {
        "faults": ", ".join(f"{name} {count}" for name, count in report.faults.most_common()) or "none",
        "records in the log": f"{comparison.records:,} ({comparison.duplicates:,} duplicates)",
        "states equal to the replay": ", ".join(f"{kind} {count:,}" for kind, count in comparison.states.items()),
        "states that pages were made from": f"{comparison.served_states:,} of {comparison.served_pages:,} pages",
        "history rows / distinct events": f"{comparison.history_rows:,} / {comparison.distinct_events:,}",
        "warehouse rows / records": f"{comparison.warehouse_rows:,} / {comparison.records:,}",
        "members counted in an experiment": f"{comparison.members_in_experiment:,}",
        "homepages": ", ".join(f"{count:,} {step}" for step, count in report.answers.most_common()),
        "their reasons": reasons or "none",
        "homepages not 200": ", ".join(f"{count} x {code}" for code, count in report.failed.items()) or "none",
        "asked twice (serving was killed with the request)": str(report.cut),
        "not answered": str(report.unanswered),
        "answers that were not true": str(len(report.untrue)),
        "differences": str(len(comparison.differences)),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


if __name__ == "__main__":
    typer.run(main)
