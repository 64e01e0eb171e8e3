"""What the methods decide of the ASOS experiments, as tables and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn
from rich.table import Table

from load_tests.experiments.asos import ASOS, PLAN, Decided, Series, decide, generated, intervals, read_asos

METHODS: Final = {
    "sequential, tuned for the planned members": "sequential",
    "the same, found at two looks in a row": "twice",
    f"sequential, tuned for {10 * PLAN.min_members:,} members (default)": "untuned",
    "group sequential, 5 looks": "group_sequential",
    "fixed, peeked at every row": "peeked",
    "fixed, at the end": "at_end",
}


class Summary(msgspec.Struct, frozen=True):
    """Of one method. decided: series in which it finds something; experiments: with any; quartiles: of the share of the
    horizon when it does. also, opposite: of these, the fixed test at the end finds the same or the opposite; alone: it
    finds nothing; missed: it finds something where the method does not."""

    method: str
    decided: int
    experiments: int
    quartiles: tuple[float, float, float]
    also: int
    opposite: int
    alone: int
    missed: int


def measure(console: Console, seed: int, jobs: int, alpha: float, picture: Path) -> list[Summary]:
    """Decide, print the tables, draw the picture, and return the summaries."""
    is_there = ASOS.is_file()
    everything = read_asos() if is_there else generated(seed)
    if not is_there:
        console.print("The ASOS data is not beside the project: these are generated experiments in its place.")
    decided = _decided(console, everything, jobs, alpha)
    summaries = [summary(decided, method, name) for method, name in METHODS.items()]
    console.print(_table(summaries, decided, "ASOS" if is_there else "Generated"))
    if is_there:
        console.print(_metric_table(decided))
    draw(decided, alpha, picture, "ASOS" if is_there else "generated")
    console.print(f"drawn: {picture}")
    return summaries


def _decided(console: Console, everything: Sequence[Series], jobs: int, alpha: float) -> list[Decided]:
    with (
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool,
        Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=console) as progress,
    ):
        found = pool.map(partial(decide, alpha=alpha), everything, chunksize=4)
        return list(progress.track(found, total=len(everything), description="real experiments"))


def summary(decided: Sequence[Decided], method: str, name: str) -> Summary:
    """Return one method's summary."""
    pairs = [(getattr(each, name), each.at_end) for each in decided]
    found = [(mine, end) for mine, end in pairs if mine is not None]
    shares = [mine[0] for mine, _ in found] or [float("nan")]
    return Summary(
        method,
        decided=len(found),
        experiments=len({each.series.experiment for each in decided if getattr(each, name) is not None}),
        quartiles=(float(np.quantile(shares, 0.25)), float(np.median(shares)), float(np.quantile(shares, 0.75))),
        also=sum(end is not None and end[1] == mine[1] for mine, end in found),
        opposite=sum(end is not None and end[1] != mine[1] for mine, end in found),
        alone=sum(end is None for _, end in found),
        missed=sum(mine is None and end is not None for mine, end in pairs),
    )


def _table(summaries: Sequence[Summary], decided: Sequence[Decided], name: str) -> Table:
    experiments = len({each.series.experiment for each in decided})
    table = Table(
        title=f"{name}: {experiments} experiments, {len(decided)} series (treatment x metric), "
        f"{sum(len(each.series.looks) for each in decided):,} looks",
        title_justify="left",
    )
    table.add_column("method")
    for column in ("series decided", "experiments", "at share of the horizon: median (quartiles)"):
        table.add_column(column, justify="right")
    for column in ("same at the end", "opposite", "nothing at the end", "only at the end"):
        table.add_column(column, justify="right")
    for each in summaries:
        low, middle, high = (f"{share:.0%}" for share in each.quartiles)
        row = (each.decided, each.experiments, f"{middle} ({low} to {high})")
        rest = (each.also, each.opposite, each.alone, each.missed)
        table.add_row(each.method, *(str(cell) for cell in (*row, *rest)))
    return table


def _metric_table(decided: Sequence[Decided]) -> Table:
    table = Table(title="Series decided, by metric of the data set", title_justify="left")
    table.add_column("metric")
    for column in ("series", *METHODS):
        table.add_column(column, justify="right")
    for metric in sorted({each.series.metric for each in decided}):
        mine = [each for each in decided if each.series.metric == metric]
        counts = (sum(getattr(each, name) is not None for each in mine) for name in METHODS.values())
        table.add_row(str(metric), str(len(mine)), *(str(count) for count in counts))
    return table


def draw(decided: Sequence[Decided], alpha: float, picture: Path, name: str) -> None:
    """Draw when each method decides, and one series with both of its intervals."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    when, one = figure.subplots(1, 2)
    for method, field in METHODS.items():
        shares = sorted(found[0] for each in decided if (found := getattr(each, field)) is not None)
        style = "--" if field == "peeked" else "-"
        when.step([0.0, *shares, 1.0], [*range(len(shares) + 1), len(shares)], style, where="post", label=method)
    when.set_xlabel("share of the horizon")
    when.set_ylabel(f"series decided, of {len(decided)}")
    when.set_xlim(0.0, 1.02)
    when.legend(fontsize="x-small", frameon=False)
    when.set_title(f"{name} experiments: decided by when", fontsize="medium", loc="left")
    _draw_series(one, example(decided), alpha)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=100)


def example(decided: Sequence[Decided]) -> Series:
    """Return a series that the sequential method decides on its way: that of the most looks."""
    on_the_way = [each for each in decided if each.twice and 0.2 <= each.twice[0] <= 0.6 and each.at_end]
    return max(on_the_way or decided, key=lambda each: len(each.series.looks)).series


def _draw_series(axes: Any, series: Series, alpha: float) -> None:
    looks = intervals(series, alpha)
    days = [day for day, _, _ in looks]
    for place, label in ((1, "sequential: holds at every look"), (2, "fixed: holds at one look")):
        low, high = ([getattr(look[place], end) for look in looks] for end in ("low", "high"))
        axes.fill_between(days, low, high, alpha=0.3, label=label, linewidth=0)
    axes.plot(days, [fixed.difference for _, _, fixed in looks], color="black", linewidth=1)
    axes.axhline(0.0, color="grey", linewidth=0.8)
    spread = [fixed.high - fixed.low for _, _, fixed in looks if fixed.high is not None and fixed.low is not None]
    middle = float(np.median([fixed.difference or 0.0 for _, _, fixed in looks]))
    reach = 3.0 * float(np.median(spread)) + abs(middle)
    axes.set_ylim(-reach, reach)
    axes.set_xlabel("days")
    axes.set_ylabel("difference of means")
    axes.legend(fontsize="x-small", frameon=False)
    title = f"{series.experiment}, treatment {series.treatment}, metric {series.metric}"
    axes.set_title(title, fontsize="medium", loc="left")
