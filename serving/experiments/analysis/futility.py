"""Futility: the chance that the effect which was declared worth finding will be found by the end, given what was seen.

Stochastic curtailment: Lan, Simon and Halperin, Sequential Analysis 1 (1982); Jennison and Turnbull, "Group Sequential
Methods" (2000), section 10.2. Of a sequential test it is the chance that its interval excludes 0 at the last look; it
may have found the effect before, so this is a lower bound, and not far off when most members are in.
"""

from __future__ import annotations

import math

from scipy.special import ndtr

from serving.experiments.analysis.comparison import Comparison, Undefined
from streams.experiments.metric import Direction


def conditional_power(
    found: Comparison | Undefined,
    mde: float,
    direction: Direction,
    planned: float,
    critical: float,
    *,
    cautious: bool = False,
) -> float | None:
    """Return the chance to find an improvement with `planned` members of both arms, if the true effect on the rest is
    `mde` (relative, for the better). None where the comparison says nothing yet, or the control's value is 0.

    critical: how many standard errors the final interval reaches (fixed: 1.96; sequential: `multiplier` at `planned`);
    cautious: whether these are the cautious ones, as those of all methods but the fixed one.
    Stopping a test that is not found futile can only lower the false positives: the boundary needs no change.
    """
    if isinstance(found, Undefined) or found.control == 0.0:
        return None
    better = 1.0 if direction == "increase" else -1.0
    share = min(found.n / planned, 1.0)
    error = found.cautious_standard_error if cautious else found.standard_error
    z = better * found.difference / error
    if share == 1.0:
        return 1.0 if z >= critical else 0.0
    final_error = error * math.sqrt(share)
    drift = mde * abs(found.control) / final_error
    return float(ndtr((z * math.sqrt(share) + drift * (1.0 - share) - critical) / math.sqrt(1.0 - share)))
