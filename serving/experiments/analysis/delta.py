"""The relative effect: treatment over control, minus 1.

Its standard error is the delta method's, covariance included (Deng, Knoblich and Lu, KDD 2018, section 2.2). Its
interval is Fieller's (JRSS B 16, 1954): the ratios r for which treatment - r * control is no further from 0 than the
multiplier allows. Two reasons against the delta method's symmetric one: it excludes 0 exactly when the absolute
interval does, so the two never contradict each other on a page; and for each r it is a difference of means like any
other, so a confidence sequence of it is valid at any look, however uncertain the control's mean still is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from serving.experiments.analysis.comparison import Comparison


@dataclass(frozen=True, slots=True)
class Relative:
    """A relative effect (0.02: 2 % more). None is what cannot be said; `reason` is why."""

    estimate: float | None = None
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


def relative_effect(found: Comparison, multiplier: float) -> Relative:
    """Return the effect relative to the size of the control's value, with the interval for standard errors times
    `multiplier` (inf: no interval yet)."""
    control, treatment = found.control, found.treatment
    if control == 0.0:
        return Relative(reason="the control's value is zero")
    sign = math.copysign(1.0, control)
    estimate = found.difference / abs(control)
    error = relative_standard_error(found)
    square = multiplier * multiplier
    a = control * control - square * found.control_variance
    if not a > 0.0:
        return Relative(estimate, error, reason="the control's value may still be zero")
    b = treatment * control - square * found.covariance
    c = treatment * treatment - square * found.treatment_variance
    half = math.sqrt(max(b * b - a * c, 0.0)) / a
    ends = sorted((sign * (b / a - half - 1.0), sign * (b / a + half - 1.0)))
    return Relative(estimate, error, ends[0], ends[1])


def relative_standard_error(found: Comparison) -> float:
    """Return the delta method's standard error of treatment / control; the control's value must not be 0."""
    ratio = found.treatment / found.control
    variance = found.treatment_variance - 2.0 * ratio * found.covariance + ratio * ratio * found.control_variance
    return math.sqrt(max(variance, 0.0)) / abs(found.control)
