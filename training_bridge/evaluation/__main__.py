"""`python -m training_bridge.evaluation`: ranking quality beside known methods, as a table."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from rich.console import Console

from training_bridge.evaluation.comparison import SplitResult, compare
from training_bridge.evaluation.data import load
from training_bridge.evaluation.prequential import Task, make_task, some_members
from training_bridge.evaluation.report import split_table, verdict_table, write_json, write_plot
from training_bridge.ranker.config import RankerConfig

SPLITS = (0.6, 0.7, 0.8, 0.9)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m training_bridge.evaluation", description=__doc__)
    parser.add_argument("--data", type=Path, help="a MovieLens folder (ratings.csv, movies.csv)")
    parser.add_argument("--splits", type=float, nargs="+", default=SPLITS, help="shares of the events to train on")
    parser.add_argument("--members", type=int, help="measure on so many members, drawn at random")
    parser.add_argument("--seed", type=int, default=0)
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
    results = []
    for share in options.splits:
        config = RankerConfig()
        task = make_task(
            log, meta, share, history_length=config.history_length, half_lives_d=config.popularity_half_lives_d
        )
        if options.members:
            task = some_members(task, options.members, np.random.default_rng(options.seed))
        if not len(task.positions):
            console.print(f"Split at {share:g}: nobody to predict")
            continue
        results.append(_one(console, task, share, options.seed, config))
    if results:
        console.print(verdict_table(results))
        _write(results, options.json, options.plot)


def _one(console: Console, task: Task, share: float, seed: int, config: RankerConfig) -> SplitResult:
    """Measure one split, print its table, return it."""
    began = time.monotonic()
    with console.status(f"split at {share:g}") as status:
        result = compare(
            task,
            share,
            seed=seed,
            config=config,
            status=lambda doing: status.update(f"split at {share:g}: {doing}, {time.monotonic() - began:.0f} s"),
        )
    console.print(split_table(result))
    console.print(f"{time.monotonic() - began:.0f} s\n", style="dim")
    return result


def _write(results: list[SplitResult], json: Path | None, plot: Path | None) -> None:
    if json:
        write_json(results, json)
    if plot:
        write_plot(results, plot)


if __name__ == "__main__":
    main()
