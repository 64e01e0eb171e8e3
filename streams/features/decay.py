"""Forward decay: weights that grow with event time, instead of sums that shrink with the clock.

An event at time t weighs 2**((t - landmark) / half_life); at time `now` the sum is divided by
2**((now - landmark) / half_life). So a sum needs no upkeep, late events add like any other, and merging is adding
(Cormode, Shkapenyuk, Srivastava and Xu, "Forward decay", ICDE 2009). For the weights to stay within a float, the
landmark moves on by a block of BLOCK half-lives when event time has.
"""

from __future__ import annotations

from typing import Final

BLOCK: Final = 960
"""Half-lives from one landmark to the next: weights stay below 2**960, and 2**63 of them add up without overflow."""


def landmark_of(event_time_ms: int, block_ms: int) -> int:
    """Return the landmark (Unix, ms) of the block that a time is in."""
    return event_time_ms - event_time_ms % block_ms


def rebase(total: float, landmark_ms: int, onto_ms: int, half_life_ms: int) -> float:
    """Return a sum relative to one landmark relative to another, the same or a later one."""
    return float(total * 2.0 ** ((landmark_ms - onto_ms) / half_life_ms))


def decayed(total: float, landmark_ms: int, half_life_ms: int, now_ms: int) -> float:
    """Return a sum as of `now_ms`, at the earliest as of its landmark."""
    return float(total * 2.0 ** min((landmark_ms - now_ms) / half_life_ms, 0.0))
