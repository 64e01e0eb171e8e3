"""Forward decay: weights that grow with event time, instead of sums that shrink with the clock.

An event at time t weighs 2**(t / half_life); at time `now` everything is divided by 2**(now / half_life). So a sum needs
no upkeep, late events add like any other, and merging is adding (Cormode, Shkapenyuk, Srivastava and Xu, "Forward decay",
ICDE 2009). To stay within a float, a sum is kept in units of 2**unit, where `unit` is the number of whole half-lives at
its newest event; going to a newer unit multiplies by a power of two, which is exact.
"""

from __future__ import annotations

from math import ldexp
from typing import Final

MIN_EXPONENT: Final = -1074
"""2**-1074 is the smallest float; anything older weighs nothing."""


def rebase(total: float, unit: int, onto: int) -> float:
    """Return a sum kept in 2**unit in units of 2**onto, for onto >= unit."""
    return ldexp(total, unit - onto) if onto != unit else total


def decayed(total: float, unit: int, half_life_ms: int, now_ms: int) -> float:
    """Return a sum as of `now_ms`; events after `now_ms` weigh at most as those in their half-life's first moment, doubled."""
    half_lives, rest_ms = divmod(now_ms, half_life_ms)
    exponent = unit - half_lives - rest_ms / half_life_ms
    return float(total * 2.0 ** min(max(exponent, MIN_EXPONENT), 1.0))
