"""A circuit breaker: leaves a failing dependency alone for a while, longer each time, then tries once.

After Nygard, Release It! (2nd ed., section 5.2). No clock in it: `now_s` is an argument (monotonic seconds).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BreakerPolicy:
    """failures: in a row, that open it; first_open_s: how long at first, doubled by each failed try, to max_open_s."""

    failures: int = 3
    first_open_s: float = 0.25
    max_open_s: float = 5.0


class CircuitBreaker:
    """Closed (calls pass), open (none do), half open (one does, and decides). One event loop's; not thread-safe."""

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self._failures = 0
        self._open_s = 0.0
        self._retry_at_s = 0.0
        self.reason = ""
        """Of the last failure."""

    @property
    def is_open(self) -> bool:
        """Whether the last calls failed and none has succeeded since."""
        return self._open_s > 0.0

    def allows(self, now_s: float) -> bool:
        """Return whether a call may be made; while open, one is at each end of the waiting time."""
        if not self.is_open:
            return True
        if now_s < self._retry_at_s:
            return False
        self._retry_at_s = now_s + self._open_s
        return True

    def succeeded(self) -> None:
        """Close."""
        self._failures = 0
        self._open_s = 0.0

    def failed(self, now_s: float, reason: str) -> None:
        """Count a failure; open, or stay open for longer."""
        self.reason = reason
        self._failures += 1
        if self._failures >= self._policy.failures:
            doubled = max(self._policy.first_open_s, self._open_s * 2)
            self._open_s = min(doubled, self._policy.max_open_s)
            self._retry_at_s = now_s + self._open_s
