"""An effect as it is shown: estimate, interval and p-value, absolute and relative, with how many members it rests
on."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from serving.experiments.analysis.comparison import Comparison, Undefined
from serving.experiments.analysis.delta import relative_effect

Method = Literal["sequential", "group_sequential", "fixed"]


class Effect(msgspec.Struct, frozen=True):
    """A treatment's effect on a metric against the control.

    Where nothing can be said a field is None and `reason` (of the relative ones: `relative_reason`) says why; never
    nan. low, high: of the interval for `difference`, at level 1 - alpha. control, treatment: the metric's values,
    adjusted by CUPED if that was asked for. relative: difference over the control's size. p_value: two-sided, for no
    difference. variance_reduction: by CUPED, of the difference's variance.
    """

    method: Method
    alpha: float
    n_control: int
    n_treatment: int
    control: float | None = None
    treatment: float | None = None
    difference: float | None = None
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    relative: float | None = None
    relative_standard_error: float | None = None
    relative_low: float | None = None
    relative_high: float | None = None
    variance_reduction: float = 0.0
    reason: str | None = None
    relative_reason: str | None = None

    @property
    def found(self) -> bool:
        """Whether the interval excludes no effect."""
        return self.low is not None and self.high is not None and (self.low > 0.0 or self.high < 0.0)


def effect_of(
    found: Comparison | Undefined,
    *,
    method: Method,
    alpha: float,
    multiplier: float,
    p_value: float,
    standard_error: float | None = None,
) -> Effect:
    """Return the effect whose interval reaches `multiplier` standard errors to both sides (inf: no interval yet).

    standard_error: another than the comparison's (a more cautious one); its ratio widens all that is relative, too.
    """
    if isinstance(found, Undefined):
        return Effect(method, alpha, found.n_control, found.n_treatment, reason=found.reason)
    wider = 1.0 if standard_error is None else standard_error / found.standard_error
    half = multiplier * wider * found.standard_error
    bounded = math.isfinite(half)
    relative = relative_effect(found, multiplier * wider)
    return Effect(
        method=method,
        alpha=alpha,
        n_control=found.n_control,
        n_treatment=found.n_treatment,
        control=found.control,
        treatment=found.treatment,
        difference=found.difference,
        standard_error=wider * found.standard_error,
        low=found.difference - half if bounded else None,
        high=found.difference + half if bounded else None,
        p_value=min(1.0, p_value),
        relative=relative.estimate,
        relative_standard_error=None if relative.standard_error is None else wider * relative.standard_error,
        relative_low=relative.low,
        relative_high=relative.high,
        variance_reduction=found.variance_reduction,
        reason=None if bounded else "too few members for an interval",
        relative_reason=relative.reason,
    )
