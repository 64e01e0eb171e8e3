"""Exploration: which titles are shown to learn about them, by chance, with the chance of each known exactly.

The policy is stratified uniform. The eligible titles, the best first, are cut into as many consecutive strata as there
are positions, and each position shows one title of its stratum, drawn uniformly. Strata share no title, so no title can
come up twice, and the probability that a title stands where it does is exactly 1 / (size of its stratum). Better titles
still stand further to the front. Everything else on a page is a function of its inputs and has propensity 1.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15

Rows = NDArray[np.intp]


class Drawn(NamedTuple):
    """The title drawn for one position, the probability of that, and the mean worth of those it was drawn from."""

    row: int
    propensity: float
    mean_worth: float


def draw(pool: Rows, worth: NDArray[np.float32], positions: int, seed: int, stream: int = 0) -> list[Drawn]:
    """Return a title for each of `positions`, fewer if the pool is smaller; `stream` separates draws of one seed.

    worth: float32 [len(pool)], whatever the caller wants the expectation of.
    """
    count = min(positions, len(pool))
    if not count:
        return []
    bounds = [len(pool) * place // count for place in range(count + 1)]
    sums = np.add.reduceat(worth, bounds[:-1]).tolist()
    drawn = []
    for place, (start, end) in enumerate(pairwise(bounds)):
        size = end - start
        row = int(pool[start + uniform(seed, stream + place, size)])
        drawn.append(Drawn(row, 1.0 / size, sums[place] / size))
    return drawn


def uniform(seed: int, counter: int, size: int) -> int:
    """Return a number below `size`, uniform over seeds to within size / 2**64, the same on every platform.

    SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), indexed by a counter.
    """
    z = (seed * 0xD1342543DE82EF95 + (counter + 1) * _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((z ^ (z >> 31)) * size) >> 64
