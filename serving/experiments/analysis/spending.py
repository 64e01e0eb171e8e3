"""How much of the allowed false positives may be spent by when: what lets looks happen at any share of the plan.

Lan and DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70 (1983). For a two-sided test of
level alpha each side spends alpha / 2 by the one-sided function, as ldbounds, gsDesign and East do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Literal

from scipy.special import ndtr, ndtri

Spending = Literal["obrien_fleming", "pocock"]


def spent(spending: Spending, alpha: float, fraction: float) -> float:
    """Return the two-sided probability of a false positive that may have been used at a share of the planned
    information; all of it from the whole plan on, nothing before the first member.

    >>> spent("pocock", 0.05, 1.0), spent("pocock", 0.05, 0.0)
    (0.05, 0.0)
    """
    if fraction <= 0.0:
        return 0.0
    if fraction >= 1.0:
        return alpha
    return 2.0 * _ONE_SIDED[spending](alpha / 2.0, fraction)


def _obrien_fleming(alpha: float, fraction: float) -> float:
    """Hardly anything at first: 2 (1 - Phi(z_{alpha/2} / sqrt(t)))."""
    return 2.0 * float(ndtr(ndtri(alpha / 2.0) / math.sqrt(fraction)))


def _pocock(alpha: float, fraction: float) -> float:
    """Nearly even: alpha ln(1 + (e - 1) t)."""
    return alpha * math.log1p((math.e - 1.0) * fraction)


_ONE_SIDED: Final[dict[Spending, Callable[[float, float], float]]] = {
    "obrien_fleming": _obrien_fleming,
    "pocock": _pocock,
}
