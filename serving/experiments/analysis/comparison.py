"""Two arms side by side: their values and how uncertain these are together. What a test makes of it is another step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from serving.experiments.analysis.cuped import theta_of
from serving.experiments.analysis.ratio import Arm, arm_of
from streams.experiments.moments import Moments, W


@dataclass(frozen=True, slots=True)
class Comparison:
    """A treatment against the control.

    control, treatment: values of the metric (adjusted by CUPED when asked for). control_variance, treatment_variance,
    covariance: of these two estimates. standard_error: of the difference; df: its degrees of freedom (Welch and
    Satterthwaite). pooled_standard_error: the same if members of both arms vary alike. theta: CUPED's factor, 0
    without; variance_reduction: share of the difference's variance that it took away.
    """

    n_control: int
    n_treatment: int
    control: float
    treatment: float
    control_variance: float
    treatment_variance: float
    covariance: float
    standard_error: float
    df: float
    pooled_standard_error: float
    theta: float = 0.0
    variance_reduction: float = 0.0

    @property
    def n(self) -> int:
        """Members of both arms."""
        return self.n_control + self.n_treatment

    @property
    def difference(self) -> float:
        """Treatment minus control."""
        return self.treatment - self.control

    @property
    def cautious_standard_error(self) -> float:
        """The larger one of Welch's and the pooled one: what a small arm has not seen yet is not taken for
        impossible."""
        return max(self.standard_error, self.pooled_standard_error)

    @property
    def z(self) -> float:
        """The difference in standard errors; 0 where there is no variation at all."""
        return self.difference / self.standard_error if self.standard_error > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Undefined:
    """There is nothing to compare yet. reason: as a person would say it."""

    n_control: int
    n_treatment: int
    reason: str


def compare(control: Moments, treatment: Moments, *, cuped: bool = False) -> Comparison | Undefined:
    """Compare a treatment with the control on members' moments; Undefined for fewer than two members in an arm, for a
    ratio with nothing to divide by, and where no member of an arm differs from another of it."""
    return compare_strata(((control, treatment),), cuped=cuped)


def compare_strata(strata: Sequence[tuple[Moments, Moments]], *, cuped: bool = False) -> Comparison | Undefined:
    """Compare (control, treatment) within strata, weighted by how many members of both arms each has.

    Strata that an arm has fewer than two members of are left out of both (there is no difference to take there).
    """
    whole = (sum(pair[0].n for pair in strata), sum(pair[1].n for pair in strata))
    usable = [pair for pair in strata if min(pair[0].n, pair[1].n) >= 2]
    if not usable:
        return Undefined(*whole, "fewer than two members in an arm")
    both = [one + other for one, other in usable]
    shares = [Fraction(pair.n, sum(each.n for each in both)) for pair in both]
    arms = [arm_of([pair[side] for pair in usable], shares) for side in (0, 1)]
    control, treatment = arms
    pooled = arm_of(both, shares)
    if isinstance(control, str) or isinstance(treatment, str) or isinstance(pooled, str):
        return Undefined(*whole, next(arm for arm in (*arms, pooled) if isinstance(arm, str)))
    found = _adjusted(control, treatment, pooled, theta_of(pooled) if cuped and _have_past(usable) else 0.0)
    return found if found.standard_error > 0 else Undefined(*whole, "within each arm all members have the same value")


def _have_past(pairs: Sequence[tuple[Moments, Moments]]) -> bool:
    """Return whether both arms have a covariate: a ratio has none where there was nothing to divide by before."""
    return all(sum(pair[side].sums[W] for pair in pairs) > 0 for side in (0, 1))


def _adjusted(control: Arm, treatment: Arm, pooled: Arm, theta: float) -> Comparison:
    """Take theta * (arm's covariate - everybody's) from both values. Everybody's is made of the same members, which
    ties the two adjusted values together: the covariance; it drops out of the difference, not out of the ratio."""
    n = control.n + treatment.n
    to_control, to_treatment = treatment.n / n, control.n / n
    within = [_variance(arm, theta) for arm in (control, treatment)]
    covariates = theta * theta * (control.covariate_variance + treatment.covariate_variance)
    tied = theta * (to_control * treatment.covariance + to_treatment * control.covariance)
    variance = sum(within)
    spread = within[0] ** 2 / control.df + within[1] ** 2 / treatment.df
    plain = control.variance + treatment.variance
    return Comparison(
        n_control=control.n,
        n_treatment=treatment.n,
        control=control.value - theta * (control.covariate - pooled.covariate),
        treatment=treatment.value - theta * (treatment.covariate - pooled.covariate),
        control_variance=control.variance
        - 2.0 * theta * to_control * control.covariance
        + to_control * to_control * covariates,
        treatment_variance=treatment.variance
        - 2.0 * theta * to_treatment * treatment.covariance
        + to_treatment * to_treatment * covariates,
        covariance=tied - to_control * to_treatment * covariates,
        standard_error=math.sqrt(variance),
        df=variance * variance / spread if spread > 0 else control.df + treatment.df,
        pooled_standard_error=math.sqrt(_variance(pooled, theta) * n * (1.0 / control.n + 1.0 / treatment.n)),
        theta=theta,
        variance_reduction=1.0 - variance / plain if theta and plain > 0 else 0.0,
    )


def _variance(arm: Arm, theta: float) -> float:
    """Return the variance of the arm's value less theta times its covariate; rounding does not make it negative."""
    return max(arm.variance - 2.0 * theta * arm.covariance + theta * theta * arm.covariate_variance, 0.0)
