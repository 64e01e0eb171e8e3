"""A load test's results: a table to read, JSON to keep, a plot to look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from load_tests.open_loop import Measured
from load_tests.verdict import Slo, violations

PLOTTED_PERCENTILES = (0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9)


@dataclass(frozen=True)
class Result:
    """One scenario's service levels and what was measured."""

    slo: Slo
    measured: Measured

    @property
    def violations(self) -> list[str]:
        """What was not met."""
        return violations(self.slo, self.measured)


def as_table(results: Sequence[Result]) -> Table:
    """Return the results for the terminal."""
    table = Table(title="Open-loop load, latencies from the due time (ms)", title_justify="left")
    for column in ("scenario", "asked/s", "answered", "p50", "p90", "p99", "p99.9", "failed", "unsent"):
        table.add_column(column, justify="left" if column == "scenario" else "right", no_wrap=True)
    for result in results:
        measured = result.measured
        figures = [f"{measured.percentile_ms(p):.1f}" for p in (50, 90, 99, 99.9)]
        counts = [str(measured.failed), str(measured.unsent)]
        table.add_row(result.slo.scenario, f"{result.slo.load.rate:g}", str(measured.count), *figures, *counts)
    return table


def verdicts(results: Sequence[Result]) -> list[str]:
    """Return a line for each scenario: whether its service levels are met, and what is not."""
    return [
        f"{result.slo.scenario}: [red]{'; '.join(result.violations)}"
        if result.violations
        else f"{result.slo.scenario}: [green]met, p99 {result.measured.percentile_ms(99):.1f} ms of {level} ms"
        for result in results
        for level in [f"{result.slo.percentiles_ms.get(99.0, float('nan')):g}"]
    ]


def as_json(results: Sequence[Result]) -> str:
    """Return the results as JSON."""
    return json.dumps({result.slo.scenario: _one(result) for result in results}, indent=2)


def _one(result: Result) -> dict[str, Any]:
    measured = result.measured
    return {
        "rate": result.slo.load.rate,
        "seconds": round(measured.seconds, 2),
        "answered": measured.count,
        "failed": measured.failed,
        "unsent": measured.unsent,
        "outcomes": dict(measured.outcomes),
        "latency_ms": {f"p{p:g}": round(measured.percentile_ms(p), 3) for p in PLOTTED_PERCENTILES},
        "violations": result.violations,
    }


def plot(results: Sequence[Result], path: Path) -> None:
    """Write latency by percentile as a picture, one line a scenario."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for result in results:
        values = [max(result.measured.percentile_ms(p), 0.01) for p in PLOTTED_PERCENTILES]
        axes.plot(range(len(values)), values, marker="o", label=f"{result.slo.scenario} ({result.slo.load.rate:g}/s)")
    axes.set_xticks(range(len(PLOTTED_PERCENTILES)), [f"{p:g}" for p in PLOTTED_PERCENTILES])
    axes.set(yscale="log", xlabel="percentile", ylabel="latency from the due time, ms")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
