"""Guardrails: one-sided tests of whether a metric got worse by more than what is accepted, valid at any look.

The two questions of a non-inferiority test with a relative margin: is harm beyond the margin sure (stop), and is it
sure that there is none (safe to ship)? For each margin it is a difference of means, treatment - (1 - margin) *
control, so the one-sided confidence sequence holds for it (see `confidence_sequence`); the bounds on the harm are
where it stops being sure (Fieller, see `delta`).
"""

from __future__ import annotations

import math

import msgspec

from serving.experiments.analysis.comparison import Comparison, Undefined
from serving.experiments.analysis.confidence_sequence import information, one_sided_multiplier, one_sided_p_value
from serving.experiments.analysis.delta import relative_effect
from streams.experiments.metric import Direction


class Harm(msgspec.Struct, frozen=True):
    """How much worse a metric is, relative to the control's size (negative: better), and what of that is sure.

    at_least, at_most: one-sided bounds on it, each at level 1 - alpha. harm_p_value: against "no more than max_harm";
    at alpha or below, harm is sure. safe_p_value: against "max_harm or more"; at alpha or below, it is sure there is
    none. None: cannot be said, for this `reason`.
    """

    alpha: float
    max_harm: float
    n_control: int
    n_treatment: int
    estimate: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    harm_p_value: float | None = None
    safe_p_value: float | None = None
    reason: str | None = None

    @property
    def harmful(self) -> bool:
        """Whether harm beyond the margin is sure."""
        return self.harm_p_value is not None and self.harm_p_value <= self.alpha

    @property
    def safe(self) -> bool:
        """Whether it is sure that there is no harm beyond the margin."""
        return self.safe_p_value is not None and self.safe_p_value <= self.alpha


def harm_of(
    found: Comparison | Undefined, direction: Direction, max_harm: float, alpha: float, tuned_for: float
) -> Harm:
    """Return what is sure about the harm to a metric whose better direction this is, at this look."""
    if isinstance(found, Undefined):
        return Harm(alpha, max_harm, found.n_control, found.n_treatment, reason=found.reason)
    tau = information(found.n, tuned_for, 2.0 * alpha)
    wider = found.cautious_standard_error / found.standard_error
    z = _excess(found, direction, max_harm) / wider
    relative = relative_effect(found, float(one_sided_multiplier(tau, alpha)) * wider)
    ends = (relative.low, relative.high)
    at_least, at_most = ends if direction == "decrease" else (_minus(ends[1]), _minus(ends[0]))
    return Harm(
        alpha=alpha,
        max_harm=max_harm,
        n_control=found.n_control,
        n_treatment=found.n_treatment,
        estimate=relative.estimate if direction == "decrease" else _minus(relative.estimate),
        at_least=at_least,
        at_most=at_most,
        harm_p_value=float(one_sided_p_value(z, tau)),
        safe_p_value=float(one_sided_p_value(-z, tau)),
        reason=relative.reason,
    )


def _excess(found: Comparison, direction: Direction, max_harm: float) -> float:
    """Return how far the harm lies above the margin, in (Welch's) standard errors of that difference."""
    worse = 1.0 if direction == "decrease" else -1.0
    of_control = -worse - max_harm * math.copysign(1.0, found.control)
    variance = (
        found.treatment_variance
        + of_control * of_control * found.control_variance
        + 2.0 * worse * of_control * found.covariance
    )
    excess = worse * found.treatment + of_control * found.control
    return excess / math.sqrt(variance) if variance > 0.0 else 0.0


def _minus(number: float | None) -> float | None:
    return None if number is None else -number
