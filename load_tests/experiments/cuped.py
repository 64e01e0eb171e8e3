"""How much of a difference's variance CUPED takes away on real members: what they did before a moment explains part of
what they do from it on."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from load_tests.experiments.real import Floats, Split
from serving.experiments.analysis.comparison import Comparison, compare
from serving.experiments.design import baseline_of
from streams.experiments.moments import Moments, scaled


class Reduction(msgspec.Struct, frozen=True):
    """Of one metric. correlation: of outcome and covariate (of a ratio: linearised). variance: share of the
    difference's variance that is taken away, mean of the random allocations; lowest, highest: of them."""

    source: str
    metric: str
    members: int
    correlation: float
    variance: float
    lowest: float
    highest: float


def measure(console: Console, splits: list[Split], seed: int, allocations: int = 20) -> list[Reduction]:
    """Print and return the reductions, of everybody and of those who were there before."""
    rng = np.random.default_rng(seed)
    found = [
        reduction
        for split in splits
        for name, of in chosen(split).items()
        if (reduction := reduce(split.source, name, of, rng, allocations))
    ]
    table = Table(
        title=f"CUPED: the difference's variance, mean of {allocations} random allocations to two arms",
        title_justify="left",
    )
    table.add_column("data")
    table.add_column("metric, its covariate the same before")
    for column in ("members", "correlation", "variance less by", "lowest", "highest"):
        table.add_column(column, justify="right")
    for each in found:
        shares = (f"{share:.1%}" for share in (each.variance, each.lowest, each.highest))
        table.add_row(each.source, each.metric, f"{each.members:,}", f"{each.correlation:.2f}", *shares)
    console.print(table)
    return found


Four = tuple[Floats, Floats, Floats, Floats]


def chosen(split: Split) -> dict[str, Four]:
    """Return the metrics' numbers (y, d, x, w): those of one number, and completes a play where there are plays."""
    one = np.ones(split.members)
    result: dict[str, Four] = {}
    for name, (before, since) in split.numbers.items():
        was_there = before > 0
        result[name] = (since, one, before, one)
        result[f"{name}, of members who had any before"] = (
            since[was_there],
            one[was_there],
            before[was_there],
            one[was_there],
        )
    if "plays" in split.numbers and "completes" in split.numbers:
        (plays_before, plays), (completes_before, completes) = split.numbers["plays"], split.numbers["completes"]
        result["completes a play (ratio)"] = (completes, plays, completes_before, plays_before)
    return result


def reduce(source: str, name: str, of: Four, rng: np.random.Generator, allocations: int) -> Reduction | None:
    """Return the reduction that the platform's own comparison finds; None where there is nothing to compare."""
    numbers = np.array([[scaled(number) for number in each] for each in of], dtype=np.int64)
    shares = []
    for _ in range(allocations):
        is_treated = rng.random(numbers.shape[1]) < 0.5
        compared = compare(moments_of(numbers[:, ~is_treated]), moments_of(numbers[:, is_treated]), cuped=True)
        if not isinstance(compared, Comparison):
            return None
        shares.append(compared.variance_reduction)
    correlation = baseline_of(moments_of(numbers), members_a_day=1.0).correlation
    return Reduction(
        source, name, numbers.shape[1], correlation, float(np.mean(shares)), float(min(shares)), float(max(shares))
    )


def moments_of(numbers: NDArray[np.int64]) -> Moments:
    """Return the moments of members' scaled numbers, int64 [4, members], exactly."""
    exact = numbers.astype(object)
    sums = tuple(int(each.sum()) for each in exact)
    pairs = ((first, second) for first in range(4) for second in range(first, 4))
    return Moments(numbers.shape[1], sums, tuple(int(exact[a] @ exact[b]) for a, b in pairs))
