"""Fixed horizon: Welch's test, once, at the end. Looked at again and again it finds effects that are not there.

Welch, Biometrika 34 (1947); degrees of freedom by Satterthwaite.
"""

from __future__ import annotations

from scipy.special import stdtr, stdtrit

from serving.experiments.analysis.comparison import Comparison, Undefined
from serving.experiments.analysis.effect import Effect, effect_of


def welch(found: Comparison | Undefined, alpha: float) -> Effect:
    """Return the effect with Welch's interval and two-sided p-value.

    >>> from serving.experiments.analysis.comparison import compare
    >>> from streams.experiments.moments import Moments
    >>> welch(compare(Moments(), Moments()), 0.05).reason
    'fewer than two members in an arm'
    """
    if isinstance(found, Undefined):
        return effect_of(found, method="fixed", alpha=alpha, multiplier=0.0, p_value=1.0)
    return effect_of(
        found,
        method="fixed",
        alpha=alpha,
        multiplier=float(stdtrit(found.df, 1.0 - alpha / 2.0)),
        p_value=2.0 * float(stdtr(found.df, -abs(found.z))),
    )
