"""A metric's value in one arm, as the ratio of two means: a plain mean is one whose denominator is 1 for everybody.

Variances follow by the delta method: around the arm's own ratio R, member i counts as (Y_i - R D_i) / mean D. Deng,
Knoblich and Lu, "Applying the Delta Method in Metric Analytics", KDD 2018, section 3.1. The members' numbers are
integers and so are the sums of these residuals; nothing is rounded before the last division.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from streams.experiments.moments import D, Moments, Of, W, X, Y


@dataclass(frozen=True, slots=True)
class Arm:
    """n members. value: mean Y / mean D; covariate: the same of X and W, 0 if no W was seen. variance,
    covariate_variance, covariance: of these two estimates (squared standard errors, not members' variances). df:
    degrees of freedom of `variance`."""

    n: int
    value: float
    covariate: float
    variance: float
    covariate_variance: float
    covariance: float
    df: float


def arm_of(strata: Sequence[Moments], shares: Sequence[Fraction]) -> Arm | str:
    """Return the arm whose strata have these shares of all members (one stratum, of share 1: no stratification), or a
    reason why it has no value yet. Strata combine as Miratrix, Sekhon and Yu, JRSS B 75 (2013): weighted means."""
    if any(stratum.n < 2 for stratum in strata):
        return "fewer than two members"
    bottom = _mean(strata, shares, D)
    if bottom <= 0:
        return "nothing to divide by yet"
    ratio = _mean(strata, shares, Y) / bottom
    before = _mean(strata, shares, W)
    covariate = _mean(strata, shares, X) / before if before > 0 else Fraction(0)
    outcome_scale = 1 / bottom
    covariate_scale = 1 / before if before > 0 else Fraction(0)
    terms = [
        _residual_covariances(stratum, ratio, covariate, share * share / stratum.n)
        for stratum, share in zip(strata, shares, strict=True)
    ]
    variances = [float(term[0] * outcome_scale * outcome_scale) for term in terms]
    spread = sum(one * one / (stratum.n - 1) for one, stratum in zip(variances, strata, strict=True))
    return Arm(
        n=sum(stratum.n for stratum in strata),
        value=float(ratio),
        covariate=float(covariate),
        variance=sum(variances),
        covariate_variance=float(sum(term[1] for term in terms) * covariate_scale * covariate_scale),
        covariance=float(sum(term[2] for term in terms) * outcome_scale * covariate_scale),
        df=sum(variances) ** 2 / spread if spread > 0 else float(sum(stratum.n - 1 for stratum in strata)),
    )


def _mean(strata: Sequence[Moments], shares: Sequence[Fraction], of: Of) -> Fraction:
    """Return the weighted mean of one number, in millionths."""
    return sum(
        (share * stratum.sums[of] / stratum.n for stratum, share in zip(strata, shares, strict=True)), Fraction(0)
    )


def _residual_covariances(
    stratum: Moments, ratio: Fraction, covariate: Fraction, weight: Fraction
) -> tuple[Fraction, Fraction, Fraction]:
    """Return `weight` times the sample variances of Y - ratio * D and of X - covariate * W, and their covariance."""
    a, b = ratio.numerator, ratio.denominator
    c, d = covariate.numerator, covariate.denominator
    outcome: dict[Of, int] = {Y: b, D: -a}
    before: dict[Of, int] = {X: d, W: -c}
    per = Fraction(weight, stratum.n * (stratum.n - 1))
    return (
        per * _centred(stratum, outcome, outcome) / (b * b),
        per * _centred(stratum, before, before) / (d * d),
        per * _centred(stratum, outcome, before) / (b * d),
    )


def _centred(stratum: Moments, one: dict[Of, int], other: dict[Of, int]) -> int:
    """Return n times the sum of centred products of two combinations of the members' numbers."""
    products = sum(i * j * stratum.product(first, second) for first, i in one.items() for second, j in other.items())
    sums = [sum(factor * stratum.sums[of] for of, factor in each.items()) for each in (one, other)]
    return stratum.n * products - sums[0] * sums[1]
