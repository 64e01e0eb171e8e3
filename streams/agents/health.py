"""Which agents make progress, and why the others wait."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from streams.metrics import AGENT_READY


class AgentHealth:
    """What each agent of a process says of itself. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reasons: dict[str, str | None] = {}

    def ready(self, agent: str) -> None:
        """Note that an agent makes progress."""
        self._set(agent, None)

    def waiting(self, agent: str, reason: str) -> None:
        """Note that an agent waits."""
        self._set(agent, reason)

    def reasons(self) -> Mapping[str, str | None]:
        """Return for each agent why it waits, None for those that do not."""
        with self._lock:
            return dict(self._reasons)

    def is_ready(self) -> bool:
        """Return whether every agent makes progress."""
        return all(reason is None for reason in self.reasons().values())

    def _set(self, agent: str, reason: str | None) -> None:
        with self._lock:
            self._reasons[agent] = reason
        AGENT_READY.labels(agent).set(reason is None)
