"""Histograms of members' numbers, for quantiles: buckets of a fixed relative width, so that any two add up.

The mapping is that of DDSketch (Masson, Rim, Lee, VLDB 2019, section 2): a number is known to 1 % wherever it lies.
"""

from __future__ import annotations

import math
from typing import Final

from streams.experiments.moments import SCALE

RELATIVE: Final = 0.01
"""Half the width of a bucket, relative to its middle."""

_LOG_GAMMA: Final = math.log((1 + RELATIVE) / (1 - RELATIVE))


def bucket_of(number: int) -> int:
    """Return the bucket of a member's number in millionths: 0 for zero, positive ones above, negative ones below.

    >>> bucket_of(0), bucket_of(1), bucket_of(-1) == -bucket_of(1)
    (0, 1, True)
    """
    if number == 0:
        return 0
    bucket = 1 + math.ceil(math.log(abs(number)) / _LOG_GAMMA)
    return bucket if number > 0 else -bucket


def upper_edge(bucket: int) -> float:
    """Return the largest number (not in millionths) of a bucket.

    >>> upper_edge(bucket_of(2_500_000)) >= 2.5 > upper_edge(bucket_of(2_500_000) - 1)
    True
    """
    if bucket == 0:
        return 0.0
    if bucket < 0:
        return -math.exp((-bucket - 2) * _LOG_GAMMA) / SCALE
    return math.exp((bucket - 1) * _LOG_GAMMA) / SCALE


def middle(bucket: int) -> float:
    """Return the number that stands for a bucket: none in it is more than 1 % away."""
    if bucket == 0:
        return 0.0
    edge = math.exp((abs(bucket) - 1) * _LOG_GAMMA) / SCALE
    return math.copysign(edge * (1 - RELATIVE), bucket)
