"""The results as a table, as JSON, and as a chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec
from rich.table import Table

from training_bridge.evaluation.bootstrap import Interval
from training_bridge.evaluation.comparison import METRICS, OURS, SplitResult


def split_table(result: SplitResult) -> Table:
    """Return the table of one split."""
    table = Table(
        title=f"Split at {result.share:g}: {result.members} members, {result.predictions:,} predictions "
        f"among {result.candidates:,} titles",
        title_justify="left",
    )
    table.add_column("method")
    table.add_column("chosen", style="dim")
    for metric in METRICS:
        table.add_column(metric, justify="right")
    table.add_column("ours / it, NDCG@10", justify="right")
    for method in result.methods:
        style = "bold" if method.name in {OURS, result.best} else None
        ratio = "" if method.name == OURS else _shown(method.ratio["NDCG@10"], 2)
        values = [_shown(method.metrics[metric], 4) for metric in METRICS]
        table.add_row(method.name, method.choice, *values, ratio, style=style)
    return table


def verdict_table(results: Sequence[SplitResult]) -> Table:
    """Return the ranker against the best baseline of each split, with the paired interval over members."""
    table = Table(title="Marquee / best baseline (by NDCG@10)", title_justify="left")
    for column in ("split", "best baseline", *METRICS):
        table.add_column(column, justify="left" if column == "best baseline" else "right")
    for result in results:
        best = next(method for method in result.methods if method.name == result.best)
        ratios = [_shown(best.ratio[metric], 2) for metric in METRICS]
        table.add_row(f"{result.share:g}", best.name, *ratios)
    return table


def _shown(interval: Interval, digits: int) -> str:
    return f"{interval.value:.{digits}f} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def write_json(results: Sequence[SplitResult], path: Path) -> None:
    """Write all figures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode([asdict(result) for result in results])))


def write_plot(results: Sequence[SplitResult], path: Path) -> None:
    """Draw NDCG@10 with its interval, by method and split. Raises ImportError without matplotlib."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    names = [method.name for method in results[0].methods]
    for place, name in enumerate(names):
        found = [next(method for method in result.methods if method.name == name) for result in results]
        intervals = [method.metrics["NDCG@10"] for method in found]
        x = [number + (place - len(names) / 2) * 0.1 for number in range(len(results))]
        error = [[i.value - i.low for i in intervals], [i.high - i.value for i in intervals]]
        axes.errorbar(x, [i.value for i in intervals], yerr=error, fmt="o", capsize=2, label=name)
    axes.set_xticks(range(len(results)), [f"{result.share:g}" for result in results])
    axes.set_xlabel("share of the events before the split")
    axes.set_ylabel("NDCG@10, mean per member")
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize="small", frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
