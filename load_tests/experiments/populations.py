"""Members to experiment on: what each does before the experiment (the covariate) and in it, by distribution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
REAL: Final = "KuaiRand watch time"
Draw = Callable[[np.random.Generator, tuple[int, ...]], tuple[Floats, ...]]


@dataclass(frozen=True, slots=True)
class Population:
    """draw: returns (y, x), of a ratio (y, d, x, w), each of the shape that was asked for (see `streams.experiments.
    moments` for the letters). value: the metric's true value. lift: the relative effect that its power is shown for."""

    name: str
    draw: Draw
    value: float
    lift: float


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Floats, ...]:
    before, during = rng.standard_normal(shape), rng.standard_normal(shape)
    return 10.0 + 3.0 * (0.6 * before + 0.8 * during), 10.0 + 3.0 * before


def _rare(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Floats, ...]:
    """1 % convert: 5 % of the tenth who are keen, half a percent of the rest."""
    chance = np.where(rng.random(shape) < 0.1, 0.05, 0.005 / 0.9)
    return (rng.random(shape) < chance).astype(np.float64), (rng.random(shape) < chance).astype(np.float64)


def _lognormal(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Floats, ...]:
    """Of sigma 1.5: skewness 33, as of money spent."""
    taste = rng.standard_normal(shape)
    return tuple(np.exp(1.5 * np.sqrt(0.5) * (taste + rng.standard_normal(shape))) for _ in range(2))


def _pareto(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Floats, ...]:
    """Of index 2.5: a variance, but no skewness that is finite. Half of the members do twice as much."""
    scale = np.where(rng.random(shape) < 0.5, 1.0, 2.0)
    return tuple(scale * (1.0 - rng.random(shape)) ** -0.4 for _ in range(2))


def _ratio(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Floats, ...]:
    """Clicks a view, as shares of 1: views are skewed, members differ in how much they like what they see."""
    habit, liking = rng.standard_normal(shape), rng.random(shape) ** 2
    views = [1.0 + np.floor(np.exp(1.0 + 0.7 * (habit + rng.standard_normal(shape)))) for _ in range(2)]
    during, before = (number * liking * rng.random(shape) for number in views)
    return during, views[0], before, views[1]


def _resampled(y: Floats, x: Floats) -> Draw:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Floats, ...]:
        who = rng.integers(len(y), size=shape, dtype=np.int32)
        return y[who], x[who]

    return draw


def populations(real: tuple[Floats, Floats] | None = None) -> dict[str, Population]:
    """Return them by name. real: numbers of real members (before, since), from whom experiments' members are drawn."""
    known = [
        Population("normal", _normal, 10.0, 0.012),
        Population("Bernoulli 1 %", _rare, 0.01, 0.4),
        Population("lognormal", _lognormal, float(np.exp(1.125)), 0.12),
        Population("Pareto 2.5", _pareto, 2.5, 0.05),
        Population("ratio", _ratio, 1.0 / 6.0, 0.06),
    ]
    if real is not None:
        before, since = real
        known.append(Population(REAL, _resampled(since, before), float(since.mean()), 0.08))
    return {population.name: population for population in known}
