"""`python -m training_bridge.evaluation`: ranking quality beside known methods, as a table."""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TimeElapsedColumn

from training_bridge.evaluation.comparison import SplitResult, measure
from training_bridge.evaluation.data import load
from training_bridge.evaluation.report import split_table, verdict_table, write_json, write_plot
from training_bridge.ranker.interactions import Interactions
from training_bridge.ranker.titles_meta import TitlesMeta

SPLITS = (0.6, 0.7, 0.8, 0.9)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m training_bridge.evaluation", description=__doc__)
    parser.add_argument("--data", type=Path, help="a MovieLens folder (ratings.csv, movies.csv)")
    parser.add_argument("--splits", type=float, nargs="+", default=SPLITS, help="shares of the events to train on")
    parser.add_argument("--members", type=int, help="measure on so many members, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="splits measured at the same time")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all figures here")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw NDCG@10 here")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print as it goes."""
    options = parse(arguments)
    console = Console()
    name, log, meta = load(options.data)
    console.print(f"{name}: {len(log):,} events, {log.members:,} members, {len(log.titles):,} titles")
    console.print(
        "Every method reads the same live history. Baselines: parameters tuned on the end of the training part; "
        "recency window chosen on the test itself, in their favour."
    )
    results = measure_all(console, log, meta, options)
    if results:
        console.print(verdict_table(results))
        _write(results, options.json, options.plot)


def measure_all(
    console: Console, log: Interactions, meta: TitlesMeta, options: argparse.Namespace
) -> list[SplitResult]:
    """Return the splits' results, measured side by side in `--jobs` processes; their tables are printed in order."""
    results = []
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # processes share the cores; read when they start
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        pending = {
            share: pool.submit(measure, log, meta, share, options.members, options.seed) for share in options.splits
        }
        with Progress(*Progress.get_default_columns(), TimeElapsedColumn(), console=console) as progress:
            bar = progress.add_task("measuring", total=len(pending))
            for share, measured in pending.items():
                result = measured.result()
                progress.advance(bar)
                if result is None:
                    console.print(f"Split at {share:g}: nobody to predict")
                else:
                    console.print(split_table(result))
                    results.append(result)
    return results


def _write(results: list[SplitResult], json: Path | None, plot: Path | None) -> None:
    if json:
        write_json(results, json)
    if plot:
        write_plot(results, plot)


if __name__ == "__main__":
    main()
