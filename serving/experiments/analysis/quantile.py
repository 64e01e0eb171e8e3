"""Differences of quantiles (the 95th percentile of minutes watched), from histograms of members' numbers.

A quantile's standard error is read off the distribution itself: Woodruff, "Confidence intervals for medians and other
position measures", JASA 47 (1952): the share of members below it is off by sqrt(q (1 - q) / n), and the distribution
says how far that moves the quantile. Large samples make it linear in the members (Bahadur, Annals of Mathematical
Statistics 37, 1966), so whatever tests a difference of means at a fixed horizon, at planned looks or at any look tests
this one, too.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from serving.experiments.analysis.comparison import Comparison, Undefined

Edges = Callable[[int], tuple[float, float]]
"""The least and the largest number of a bucket; higher buckets hold larger numbers."""
MIN_BEYOND: Final = 20
"""Members of each arm on either side of the quantile: with fewer its distribution is far from normal."""
_DEVIATIONS: Final = 1.5
"""To both sides of the quantile, over which the distribution's slope is taken. Fewer than any test asks for: where
members have few different values (plays), a step to the next one that chance may take is no effect."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Of members over buckets, in order; below: members up to and with each."""

    edges: tuple[tuple[float, float], ...]
    below: tuple[int, ...]

    @classmethod
    def of(cls, counts: Mapping[int, int], edges: Edges) -> Distribution:
        """Return the distribution of members by bucket."""
        buckets = sorted(bucket for bucket, count in counts.items() if count)
        return cls(tuple(map(edges, buckets)), tuple(accumulate(counts[bucket] for bucket in buckets)))

    @property
    def n(self) -> int:
        """Members."""
        return self.below[-1] if self.below else 0

    def at(self, share: float) -> float:
        """Return the number below which this share of members is, members being spread evenly over their bucket."""
        rank = min(max(share, 0.0), 1.0) * self.n
        place = min(bisect_left(self.below, rank), len(self.below) - 1)
        before = self.below[place - 1] if place else 0
        low, high = self.edges[place]
        return low + (high - low) * (rank - before) / (self.below[place] - before)

    def spread(self, quantile: float) -> float:
        """Return the standard error of a quantile times sqrt(n): of the two sides the wider one."""
        deviation = math.sqrt(quantile * (1.0 - quantile) / self.n)
        middle = self.at(quantile)
        above = self.at(quantile + _DEVIATIONS * deviation) - middle
        under = middle - self.at(quantile - _DEVIATIONS * deviation)
        return max(above, under) / _DEVIATIONS * math.sqrt(self.n)


def compare_quantiles(
    control: Mapping[int, int], treatment: Mapping[int, int], quantile: float, edges: Edges
) -> Comparison | Undefined:
    """Compare a quantile (0.95) of members' numbers, given as members by bucket; exact up to the width of a bucket."""
    arms = (Distribution.of(control, edges), Distribution.of(treatment, edges))
    n = (arms[0].n, arms[1].n)
    if min(n) * min(quantile, 1.0 - quantile) < MIN_BEYOND:
        return Undefined(*n, f"fewer than {MIN_BEYOND} members of an arm beyond the percentile")
    variances = [arm.spread(quantile) ** 2 / arm.n for arm in arms]
    if not sum(variances) > 0.0:
        return Undefined(*n, "around the percentile all members have the same value")
    both = {bucket: control.get(bucket, 0) + treatment.get(bucket, 0) for bucket in {*control, *treatment}}
    together = Distribution.of(both, edges).spread(quantile)
    return Comparison(
        n_control=n[0],
        n_treatment=n[1],
        control=arms[0].at(quantile),
        treatment=arms[1].at(quantile),
        control_variance=variances[0],
        treatment_variance=variances[1],
        covariance=0.0,
        standard_error=math.sqrt(sum(variances)),
        df=sum(variances) ** 2 / (variances[0] ** 2 / (n[0] - 1) + variances[1] ** 2 / (n[1] - 1)),
        pooled_standard_error=together * math.sqrt(1.0 / n[0] + 1.0 / n[1]),
    )
