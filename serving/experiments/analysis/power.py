"""How likely a test is to find an effect of a given size, and how many members that takes.

All tests here are of z = difference / standard error, two-sided, with the large-sample normal distribution. The fixed
one is statsmodels' NormalIndPower (unequal variances: normal_power_het). Of methods that look several times the power
is the probability that a Brownian motion with drift passes their boundary at one of the looks (see
`group_sequential.crossing`): exact for normal means, else as good as the normal approximation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from serving.experiments.analysis.confidence_sequence import information, multiplier
from serving.experiments.analysis.group_sequential import boundaries, crossing
from serving.experiments.analysis.spending import Spending
from streams.errors import FixRequest


@dataclass(frozen=True, slots=True)
class Looks:
    """What several looks come to. power: of finding the effect at any of them; by_look: by each, cumulative. expected:
    share of the last look's members that it takes on average, stopping where the effect is found."""

    power: float
    by_look: tuple[float, ...]
    expected: float


def drift_of(alpha: float, power: float) -> float:
    """Return the effect in standard errors that one fixed look finds with this probability.

    >>> round(drift_of(0.05, 0.8), 4)
    2.8016
    """
    _check(alpha, power)
    return float(brentq(lambda drift: fixed_power(drift, alpha) - power, 0.0, 60.0, xtol=1e-13, rtol=1e-14))


def fixed_power(drift: float, alpha: float) -> float:
    """Return the probability that one look finds an effect of `drift` standard errors, in either direction."""
    critical = -float(ndtri(alpha / 2.0))
    return float(ndtr(drift - critical) + ndtr(-drift - critical))


def standard_error(variance: float, members: float, control: float, treatment: float) -> float:
    """Return the difference's standard error. variance: of one member's number (of a ratio: linearised), the same in
    both arms. control, treatment: the arms' shares of `members`.

    >>> standard_error(4.0, 400, 0.5, 0.5)
    0.2
    """
    return math.sqrt(variance * (1.0 / control + 1.0 / treatment) / members)


def members_needed(difference: float, variance: float, control: float, treatment: float, drift: float) -> float:
    """Return how many members make this difference `drift` standard errors; inf for no difference."""
    if difference == 0.0:
        return math.inf
    return variance * (1.0 / control + 1.0 / treatment) * (drift / difference) ** 2


def group_sequential_power(looks: int, spending: Spending, alpha: float, drift: float, *, joint: bool = True) -> Looks:
    """Return the power of evenly spaced looks. drift: the effect in standard errors at the last. joint: see
    `boundaries`; the power is that of numbers that are complete, either way."""
    fractions = [look / looks for look in range(1, looks + 1)]
    return _looks(fractions, [bound.z for bound in boundaries(fractions, alpha, spending, joint=joint)], drift)


def inflation(looks: int, spending: Spending, alpha: float, power: float, *, joint: bool = True) -> float:
    """Return how many times the fixed test's members the last look needs for the same power (Jennison and Turnbull,
    section 2.3)."""
    fixed = drift_of(alpha, power)
    fractions = [look / looks for look in range(1, looks + 1)]
    bounds = [bound.z for bound in boundaries(fractions, alpha, spending, joint=joint)]

    def short(drift: float) -> float:
        return _looks(fractions, bounds, drift).power - power

    return (float(brentq(short, 0.9 * fixed, 3.0 * fixed, xtol=1e-8)) / fixed) ** 2


def sequential_power(members: Sequence[float], tuned_for: float, alpha: float, drift: float) -> Looks:
    """Return the power of a confidence sequence that is looked at with so many members each.

    drift: the effect in standard errors at the last look.
    """
    n = np.asarray(members, dtype=np.float64)
    bounds = np.asarray(multiplier(information(n, tuned_for, alpha), alpha))
    return _looks((n / n[-1]).tolist(), bounds.tolist(), drift)


def sequential_drift(members: float, tuned_for: float, alpha: float, power: float) -> float:
    """Return the effect in standard errors that a confidence sequence finds at a look with so many members.

    Of that one look, by its width; that an earlier one may have found it is left out, so that the true power is a
    little higher.
    """
    _check(alpha, power)
    return float(multiplier(information(members, tuned_for, alpha), alpha)) + float(ndtri(power))


def _looks(fractions: Sequence[float], bounds: Sequence[float], drift: float) -> Looks:
    each = np.array([upper + lower for upper, lower in crossing(fractions, bounds, drift)])
    reached = np.cumsum(each)
    expected = float(each @ np.asarray(fractions) + (1.0 - reached[-1]) * fractions[-1])
    return Looks(float(reached[-1]), tuple(reached.tolist()), expected)


def _check(alpha: float, power: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise FixRequest("alpha", "give a probability between 0 and 1")
    if not alpha < power < 1.0:
        raise FixRequest("power", "give a probability between alpha and 1")
