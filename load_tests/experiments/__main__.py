"""`python -m load_tests.experiments`: the statistics of experiments, on simulated tests and on real data."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from load_tests.experiments import asos_report, costs, coverage, cuped, false_positives
from load_tests.experiments.real import Split, splits


class Part(StrEnum):
    """What can be measured."""

    FALSE_POSITIVES = "false-positives"
    COVERAGE = "coverage"
    COSTS = "costs"
    CUPED = "cuped"
    ASOS = "asos"


RESULTS = Path("results")


def main(
    only: Annotated[list[Part] | None, typer.Option(help="Only this part; may be given several times")] = None,
    simulations: Annotated[
        int, typer.Option(help="A/A tests of each row; half as many with an effect", min=2)
    ] = 10_000,
    alpha: Annotated[float, typer.Option(min=0.0001, max=0.2)] = 0.05,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn")] = 0,
    jobs: Annotated[int, typer.Option(help="Processes side by side", min=1)] = 2,
    results: Annotated[Path, typer.Option(help="Folder for all figures and the plot")] = RESULTS,
) -> None:
    """Measure, and print as it goes. Exits with 1 if a method that promises alpha at any look does not keep to it."""
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # processes share the cores; read when they start
    console = Console(width=None if sys.stdout.isatty() else 160)
    data = splits() if not only or set(only) - {Part.ASOS, Part.COSTS} else []
    real = _kuairand(console, data)
    found: dict[str, Any] = {}
    for part in only or tuple(Part):
        if part is Part.FALSE_POSITIVES:
            found[part] = false_positives.measure(console, simulations, seed, jobs, alpha, real)
        elif part is Part.COVERAGE:
            found[part] = coverage.measure(console, simulations // 2, seed, jobs, alpha, real)
        elif part is Part.COSTS:
            found[part] = costs.measure(console, alpha)
        elif part is Part.CUPED:
            found[part] = cuped.measure(console, data, seed)
        else:
            found[part] = asos_report.measure(console, seed, jobs, alpha, results / "asos.png")
    results.mkdir(parents=True, exist_ok=True)
    (results / "experiments.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))
    rates = found.get(Part.FALSE_POSITIVES, [])
    raise typer.Exit(any(not rate.is_kept for rate in rates))


def _kuairand(console: Console, data: list[Split]) -> Any:
    """Return what real members watched before and after a moment, None where the data is not there."""
    for split in data:
        if "watched s" in split.numbers and split.is_real:
            return split.numbers["watched s"]
    if data:
        console.print("KuaiRand is not beside the project: no rows of real members.")
    return None


if __name__ == "__main__":
    typer.run(main)
