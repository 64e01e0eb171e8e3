"""Percentile bootstrap over members: who happened to be there is the uncertainty that matters.

Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3. Paired: both methods are resampled with
the same members, so that a ratio's interval does not carry what both have in common.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
COVERAGE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the interval around it; nan where nothing was measured."""

    value: float
    low: float
    high: float


def resampled_counts(members: int, rng: np.random.Generator, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Return float64 [resamples, members]: how often each member was drawn in each resample."""
    return rng.multinomial(members, np.full(members, 1.0 / members), size=resamples).astype(np.float64)


def mean_interval(per_member: NDArray[np.float64], rng: np.random.Generator) -> Interval:
    """Return the mean over members, float64 [members], and its interval."""
    if not len(per_member):
        return Interval(np.nan, np.nan, np.nan)
    means = resampled_counts(len(per_member), rng) @ per_member / len(per_member)
    return _interval(float(per_member.mean()), means)


def ratio_interval(ours: NDArray[np.float64], theirs: NDArray[np.float64], rng: np.random.Generator) -> Interval:
    """Return mean(ours) / mean(theirs) over the same members, and its paired interval."""
    if not len(ours) or not theirs.any():
        return Interval(np.nan, np.nan, np.nan)
    counts = resampled_counts(len(ours), rng)
    return _interval(float(ours.mean() / theirs.mean()), (counts @ ours) / np.maximum(counts @ theirs, 1e-12))


def _interval(value: float, draws: NDArray[np.float64]) -> Interval:
    tail = (1.0 - COVERAGE) / 2.0
    low, high = np.quantile(draws, [tail, 1.0 - tail])
    return Interval(value, float(low), float(high))
