"""The effect at a planned look of a group-sequential test.

Its standard error is the cautious one: with Welch's an A/A test of 10 % against 90 %, of a 1 % conversion, finds
something in one run of twelve at alpha 0.05 (`make eval` shows what it comes to with this one).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import ndtri, stdtr, stdtrit

from serving.experiments.analysis.comparison import Comparison, Undefined
from serving.experiments.analysis.effect import Effect, effect_of
from serving.experiments.analysis.group_sequential import boundaries, repeated_p
from serving.experiments.analysis.spending import Spending


def planned_look(
    found: Comparison | Undefined,
    fractions: Sequence[float],
    alpha: float,
    spending: Spending,
    *,
    final: bool = False,
    joint: bool = True,
) -> Effect:
    """Return the effect with the repeated interval and p-value of the last of these looks.

    fractions: of the planned members, of each look that counted, this one included; final: it is the end, though the
    plan was not reached; joint: see `boundaries`. Boundaries become those of Student's t by their nominal p-values
    (Jennison and Turnbull, section 3.8). Raises FixRequest for looks that do not follow each other.
    """
    if isinstance(found, Undefined):
        return effect_of(found, method="group_sequential", alpha=alpha, multiplier=0.0, p_value=1.0)
    error = found.cautious_standard_error
    bound = boundaries(fractions, alpha, spending, final=final, joint=joint)[-1]
    p = 2.0 * float(stdtr(found.df, -abs(found.difference) / error))
    z = -float(ndtri(p / 2.0)) if p > 0.0 else math.inf
    return effect_of(
        found,
        method="group_sequential",
        alpha=alpha,
        multiplier=float(stdtrit(found.df, 1.0 - bound.nominal_p / 2.0)) if math.isfinite(bound.z) else math.inf,
        p_value=repeated_p(fractions, min(z, 40.0), spending, final=final, joint=joint),
        standard_error=error,
    )
