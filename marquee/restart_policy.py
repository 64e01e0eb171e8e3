"""When to start a dead child process again: at once, then after ever longer waits, up to a bound."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RestartPolicy:
    """first_s, factor, max_s: the waits. healthy_s: a child that lived this long starts afresh. worrying: quick deaths
    in a row after which a child is said to keep dying."""

    first_s: float = 0.2
    factor: float = 2.0
    max_s: float = 10.0
    healthy_s: float = 30.0
    worrying: int = 5

    def deaths_after(self, deaths: int, lived_s: float) -> int:
        """Return the quick deaths in a row, given those before and how long the child lived this time."""
        return 1 if lived_s >= self.healthy_s else deaths + 1

    def wait_s(self, deaths: int) -> float:
        """Return how long to wait after so many quick deaths in a row (from 1).

        >>> [RestartPolicy().wait_s(deaths) for deaths in (1, 2, 3, 1000)]
        [0.2, 0.4, 0.8, 10.0]
        """
        return min(self.first_s * self.factor ** min(deaths - 1, 64), self.max_s)
