"""How long to wait before the next attempt: twice as long each time, within bounds, with jitter."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Backoff:
    """first_s: about the first wait. max_s: no wait is longer, whatever was asked for."""

    first_s: float = 0.05
    max_s: float = 5.0

    def delay_s(self, attempt: int, asked_s: float, rng: Random) -> float:
        """Return the wait before attempt `attempt` (from 1): between half of and the full doubled wait, so that many
        who failed together do not come back together. `asked_s`, what the other side asked for, caps the doubling.

        >>> Backoff(0.1, 5.0).delay_s(3, 1.0, Random(0)) <= 0.4
        True
        """
        doubled_s = self.first_s * float(2 ** min(attempt - 1, 30))
        return min(doubled_s, max(asked_s, self.first_s), self.max_s) * rng.uniform(0.5, 1.0)
