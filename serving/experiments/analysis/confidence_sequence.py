"""Asymptotic confidence sequences: intervals that hold together at every look, so that one may stop at any.

Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences", arXiv 2103.06476, theorem 2.2 (two-sided, Robbins' normal mixture) and its one-sided companion. With
information tau (t rho^2 in the paper) and z the difference in standard errors, the mixture's martingale is
exp(z^2 tau / (2 (1 + tau))) / sqrt(1 + tau); the interval is where it has not reached 1 / alpha, and the p-value is
what it has reached, inverted.

Asymptotic means: once the arms are large. What breaks first is a small arm beside a large one, of a rare or skewed
number: while it has not met its rare members, Welch's variance takes them for impossible, and an A/A test of 10 %
against 90 %, of a 1 % conversion, finds something in a third of all runs. So the standard error here is the larger one
of Welch's and that of members who vary as all of both arms do (`Comparison.pooled_standard_error`). With equal arms
they are the same; otherwise the intervals are wider than they need be only where the smaller arm varies less than the
larger one.

The mixture's time is members, each of whom is seen once. Here a member's number goes on growing (plays since the
exposure): when all have come, looks go on while tau stands still. Where members differ so little in taste that each
hour is chance anew, 28 days of hourly looks at an interval tuned for just these members found something in 5 to 6 % of
4,000 A/A tests (alpha 5 %). Hence no interval is narrower than `GROWTH` times the narrowest mixture, with which it
were at most 4 %; by Siegmund, "Sequential Analysis" (1985), section 4.3, it suffices, at any tau, while the variance
grows a thousandfold.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import lambertw

from serving.experiments.analysis.comparison import Comparison, Undefined
from serving.experiments.analysis.effect import Effect, effect_of
from streams.experiments.definition import Plan

Numbers = float | NDArray[np.float64]
"""One number, or one of each of many tests at once (simulations)."""
TUNED_FOR_LOOKS: Final = 10.0
"""Times `min_members`, if a plan does not say how many it expects: there the interval is narrowest, yet only a
fifth wider at the first look."""

GROWTH: Final = 1.05
"""Room for members' numbers that grow after they came (see above)."""
_LARGEST_EVIDENCE: Final = 700.0
"""exp of more than 709 is not a float."""


def sequential(found: Comparison | Undefined, alpha: float, tuned_for: float) -> Effect:
    """Return the effect with an interval and a p-value that are valid at any look.

    tuned_for: members of the two arms at which the interval is to be narrowest; fixed before the first look. The
    p-value is that of this look: the smallest of all looks so far is as valid.
    """
    if isinstance(found, Undefined):
        return effect_of(found, method="sequential", alpha=alpha, multiplier=0.0, p_value=1.0)
    tau = information(found.n, tuned_for, alpha)
    error = found.cautious_standard_error
    return effect_of(
        found,
        method="sequential",
        alpha=alpha,
        multiplier=float(multiplier(tau, alpha)),
        p_value=float(p_value(found.difference / error, tau)),
        standard_error=error,
    )


def members_tuned_for(plan: Plan, share: float = 1.0) -> float:
    """Return `tuned_for` of two arms that get this share of the experiment's members.

    >>> members_tuned_for(Plan(min_members=1_000)), members_tuned_for(Plan(planned_members=60_000), 0.5)
    (10000.0, 30000.0)
    """
    return share * (plan.planned_members or TUNED_FOR_LOOKS * plan.min_members)


def information(n: Numbers, tuned_for: float, alpha: float) -> Numbers:
    """Return the mixture's information tau at n members. At `tuned_for` members it minimises the interval's width:
    Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 49 (2021), proposition 3."""
    return (_narrowest(alpha) ** 2 - 1.0) * n / tuned_for


def multiplier(tau: Numbers, alpha: float) -> Numbers:
    """Return how many standard errors the two-sided interval reaches to each side."""
    return np.maximum(_reach(tau, np.log((1.0 + tau) / (alpha * alpha))), GROWTH * _narrowest(alpha))


def p_value(z: Numbers, tau: Numbers) -> Numbers:
    """Return the two-sided p-value: `multiplier`, inverted."""
    p: Numbers = np.sqrt(1.0 + tau) * np.exp(-0.5 * z * z * tau / (1.0 + tau))
    return np.minimum(1.0, np.maximum(p, _least_p_value(z)))


def one_sided_multiplier(tau: Numbers, alpha: float) -> Numbers:
    """Return how many standard errors a bound to one side lies from the estimate.

    The mixture is over one side only, 2 exp(a^2 / 2) Phi(a) / sqrt(1 + tau) with a = z sqrt(tau / (1 + tau)); Phi(a)
    is at least 1 - exp(-a^2 / 2) / 2, which makes it invertible, and a little wider.
    """
    mixture = _reach(tau, 2.0 * np.log(0.5 + np.sqrt(1.0 + tau) / (2.0 * alpha)))
    return np.maximum(mixture, GROWTH * _narrowest(2.0 * alpha))


def one_sided_p_value(z: Numbers, tau: Numbers) -> Numbers:
    """Return the p-value against "z is 0 or less": `one_sided_multiplier`, inverted; 1 for z of 0 or less."""
    above = np.maximum(z, 0.0)
    evidence = np.minimum(0.5 * above * above * tau / (1.0 + tau), _LARGEST_EVIDENCE)
    p: Numbers = np.sqrt(1.0 + tau) / (2.0 * np.exp(evidence) - 1.0)
    return np.minimum(1.0, np.where(above > 0.0, np.maximum(p, 0.5 * _least_p_value(above)), 1.0))


def _narrowest(alpha: float) -> float:
    """Return the least multiplier of all tau; it is at tau of its square less 1."""
    return math.sqrt(-float(lambertw(-alpha * alpha / math.e, -1).real))


def _least_p_value(z: Numbers) -> Numbers:
    """Return the alpha at which `GROWTH` times the narrowest mixture reaches z."""
    least = np.maximum(np.abs(z) / GROWTH, 1.0)
    p: Numbers = least * np.exp(0.5 - 0.5 * least * least)
    return p


def _reach(tau: Numbers, twice_evidence: Numbers) -> Numbers:
    reach: Numbers = ((1.0 + 1.0 / tau) * twice_evidence) ** 0.5
    return reach
