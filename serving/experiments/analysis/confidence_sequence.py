"""Asymptotic confidence sequences: intervals that hold together at every look, so that one may stop at any.

Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences", arXiv 2103.06476, theorem 2.2 (two-sided, Robbins' normal mixture) and its one-sided companion. With
information t (tau below, t rho^2 in the paper) and z the difference in standard errors, the mixture's martingale is
exp(z^2 tau / (2 (1 + tau))) / sqrt(1 + tau); the interval are the differences where it has not reached 1 / alpha, the
p-value is what it has reached, inverted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import lambertw

from serving.experiments.analysis.comparison import Comparison, Undefined
from serving.experiments.analysis.effect import Effect, effect_of

Numbers = float | NDArray[np.float64]
"""One number, or one of each of many tests at once (simulations)."""


def sequential(found: Comparison | Undefined, alpha: float, tuned_for: float) -> Effect:
    """Return the effect with an interval and a p-value that are valid at any look.

    tuned_for: members of the two arms at which the interval is to be narrowest; fixed before the first look.
    """
    if isinstance(found, Undefined):
        return effect_of(found, method="sequential", alpha=alpha, multiplier=0.0, p_value=1.0)
    tau = information(found.n, tuned_for, alpha)
    return effect_of(
        found,
        method="sequential",
        alpha=alpha,
        multiplier=float(multiplier(tau, alpha)),
        p_value=float(p_value(found.z, tau)),
    )


def information(n: Numbers, tuned_for: float, alpha: float) -> Numbers:
    """Return the mixture's information tau at n members. At `tuned_for` members it minimises the interval's width:
    Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 49 (2021), proposition 3."""
    best = -float(lambertw(-alpha * alpha / np.e, -1).real) - 1.0
    return best * n / tuned_for


def multiplier(tau: Numbers, alpha: float) -> Numbers:
    """Return how many standard errors the two-sided interval reaches."""
    squared: Numbers = (1.0 + 1.0 / tau) * np.log((1.0 + tau) / (alpha * alpha))
    return np.sqrt(squared)  # type: ignore[no-any-return]  # numpy types its functions of a union as Any


def p_value(z: Numbers, tau: Numbers) -> Numbers:
    """Return the p-value of one look; the smallest of all looks so far is valid at any time (and so is this one)."""
    return np.minimum(1.0, np.sqrt(1.0 + tau) * np.exp(-0.5 * z * z * tau / (1.0 + tau)))
