"""`serving.experiments.analysis.comparison` for many tests at many looks at once, in floats.

The tests hold it against the exact one, which works on one pair of arms at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one arm, each [tests, looks], cumulative: members and sums of their numbers and products."""

    n: Floats
    y: Floats
    d: Floats
    x: Floats
    w: Floats
    yy: Floats
    yd: Floats
    dd: Floats
    xx: Floats
    xw: Floats
    ww: Floats
    yx: Floats
    yw: Floats
    dx: Floats
    dw: Floats

    def __add__(self, other: Sums) -> Sums:
        return Sums(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


def sums_of(numbers: tuple[Floats, ...]) -> Sums:
    """Return the cumulative sums of members' (y, x) or (y, d, x, w), each [tests, batches, members]."""
    size = np.full(numbers[0].shape[:2], float(numbers[0].shape[2]))
    if len(numbers) == 4:
        y, d, x, w = numbers
        dd, ww, dw = _dot(d, d), _dot(w, w), _dot(d, w)
        parts = [size, _sum(y), _sum(d), _sum(x), _sum(w), _dot(y, y), _dot(y, d), dd, _dot(x, x), _dot(x, w), ww]
        parts += [_dot(y, x), _dot(y, w), _dot(d, x), dw]
    else:
        y, x = numbers
        of_y, of_x = _sum(y), _sum(x)
        parts = [size, of_y, size, of_x, size, _dot(y, y), of_y, size, _dot(x, x), of_x, size]
        parts += [_dot(y, x), of_y, of_x, size]
    return Sums(*(np.cumsum(part, axis=1) for part in parts))


@dataclass(frozen=True, slots=True)
class Compared:
    """As `Comparison`, each [tests, looks]; nothing is compared (z of 0, infinite errors) where no member differs."""

    n: Floats
    control: Floats
    treatment: Floats
    control_variance: Floats
    treatment_variance: Floats
    difference: Floats
    standard_error: Floats
    cautious_standard_error: Floats
    df: Floats


def compare(control: Sums, treatment: Sums, *, cuped: bool) -> Compared:
    """Return treatment minus control. Values and variances of the arms are those without CUPED."""
    both = control + treatment
    one, other, pooled = _arm(control), _arm(treatment), _arm(both)
    theta = _ratio(pooled.covariance, pooled.covariate_variance) if cuped else np.zeros_like(both.y)
    variances = [_variance(arm, theta) for arm in (one, other)]
    variance = variances[0] + variances[1]
    spread = variances[0] ** 2 / (control.n - 1.0) + variances[1] ** 2 / (treatment.n - 1.0)
    as_one = _variance(pooled, theta) * both.n * (1.0 / control.n + 1.0 / treatment.n)
    blank = np.where(variance > 0.0, 0.0, np.inf)
    return Compared(
        n=both.n,
        control=one.value,
        treatment=other.value,
        control_variance=one.variance,
        treatment_variance=other.variance,
        difference=(other.value - one.value) - theta * (other.covariate - one.covariate),
        standard_error=np.sqrt(variance) + blank,
        cautious_standard_error=np.sqrt(np.maximum(variance, as_one)) + blank,
        df=np.where(spread > 0.0, _ratio(variance**2, spread), both.n - 2.0),
    )


@dataclass(frozen=True, slots=True)
class _Arm:
    value: Floats
    covariate: Floats
    variance: Floats
    covariate_variance: Floats
    covariance: Floats


def _arm(s: Sums) -> _Arm:
    ratio, before = s.y / s.d, _ratio(s.x, s.w)
    per = s.n / (s.n - 1.0)
    return _Arm(
        value=ratio,
        covariate=before,
        variance=per * (s.yy - 2.0 * ratio * s.yd + ratio**2 * s.dd) / s.d**2,
        covariate_variance=per * _ratio(s.xx - 2.0 * before * s.xw + before**2 * s.ww, s.w**2),
        covariance=per * _ratio(s.yx - before * s.yw - ratio * s.dx + ratio * before * s.dw, s.d * s.w),
    )


def _variance(arm: _Arm, theta: Floats) -> Floats:
    return np.maximum(arm.variance - 2.0 * theta * arm.covariance + theta**2 * arm.covariate_variance, 0.0)


def _ratio(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0.0)


def _sum(numbers: Floats) -> Floats:
    total: Floats = numbers.sum(axis=2)
    return total


def _dot(one: Floats, other: Floats) -> Floats:
    total: Floats = np.einsum("ijk,ijk->ij", one, other)
    return total
