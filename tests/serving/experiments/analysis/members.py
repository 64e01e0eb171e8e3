"""Members of an arm as arrays of millionths and as moments, for an independent implementation and for ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from streams.experiments.moments import SCALE, Moments

Numbers = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Members:
    """Numbers of each member; `y`, `d`, `x`, `w` in ones, `moments` of the same in millionths."""

    millionths: Numbers
    """Shape (members, 4)."""

    @property
    def moments(self) -> Moments:
        rows = self.millionths.astype(object)
        sums = tuple(int(rows[:, of].sum()) for of in range(4))
        pairs = [(one, other) for one in range(4) for other in range(one, 4)]
        return Moments(len(rows), sums, tuple(int((rows[:, one] * rows[:, other]).sum()) for one, other in pairs))

    def column(self, of: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        return self.millionths[:, of] / SCALE


def members(y: Any, d: Any = None, x: Any = None, w: Any = None) -> Members:
    """Round numbers to millionths, as the platform keeps them."""
    n = len(y)
    columns = [y, np.ones(n) if d is None else d, np.zeros(n) if x is None else x, np.ones(n) if w is None else w]
    return Members(np.stack([np.rint(np.asarray(column) * SCALE).astype(np.int64) for column in columns], axis=1))


def random_arm(rng: np.random.Generator, n: int, lift: float = 0.0, ratio: bool = False) -> Members:
    """Skewed outcomes that the time before explains in part."""
    taste = rng.gamma(2.0, 1.5, n)
    before = rng.poisson(taste * 3.0) + rng.exponential(0.3, n)
    outcome = rng.poisson(taste * 3.0 * (1.0 + lift)) + rng.exponential(0.3, n)
    if not ratio:
        return members(outcome, x=before)
    return members(outcome, rng.poisson(taste) + 1, before, rng.poisson(taste) + 1)
