"""Aggregates of simulated members."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from streams.experiments.aggregates import Aggregate, Cell, Sums
from streams.experiments.moments import SCALE, Moments

Numbers = NDArray[np.int64]
DAY = 19_676


def moments_of(outcomes: Numbers, covariates: Numbers | None = None) -> Moments:
    """Return the moments of members with these whole numbers as outcomes (and before the exposure)."""
    y = outcomes.astype(object)
    x = np.zeros_like(y) if covariates is None else covariates.astype(object)
    one = np.ones_like(y)
    columns = (y, one, x, one)
    products = [(first @ second) * SCALE**2 for place, first in enumerate(columns) for second in columns[place:]]
    return Moments(len(y), tuple(int(sum(each)) * SCALE for each in columns), tuple(int(each) for each in products))


def poisson(rng: np.random.Generator, mean: float, members: int) -> Numbers:
    return rng.poisson(mean, members).astype(np.int64)


def arm(
    variant: str, metrics: Mapping[str, Moments], *, stratum: str = "fresh", segment: str = "", crossed: int = 0
) -> Aggregate:
    """Return one arm's aggregate."""
    members = next(iter(metrics.values())).n
    return Aggregate(Cell(variant, DAY, stratum, segment), Sums(members, crossed, dict(metrics)))


def two_arms(seed: int, members: int, plays: float = 2.0, skips: float = 1.0) -> list[Aggregate]:
    """Return `a` with means 2 and 1, and `b` with these, of so many members each."""
    rng = np.random.default_rng(seed)
    return [
        arm(
            variant,
            {"plays": moments_of(poisson(rng, plays, members)), "skips": moments_of(poisson(rng, skips, members))},
        )
        for variant, plays, skips in (("a", 2.0, 1.0), ("b", plays, skips))
    ]
