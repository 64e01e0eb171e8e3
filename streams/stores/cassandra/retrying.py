"""What the driver tries again by itself."""

from __future__ import annotations

from typing import Any

from cassandra.policies import RetryPolicy


class RetryOnce(RetryPolicy):  # type: ignore[misc]  # the driver has no types
    """As the driver's own, and a write that timed out is sent once more: each carries its timestamp, so that a second
    one changes nothing. The deadline of the request counts for both."""

    def on_write_timeout(
        self,
        query: Any,
        consistency: Any,
        write_type: Any,
        required_responses: int,
        received_responses: int,
        retry_num: int,
    ) -> tuple[int, Any]:
        """Return (decision, consistency)."""
        is_ours = query is not None and query.is_idempotent
        return (self.RETRY, consistency) if is_ours and retry_num == 0 else (self.RETHROW, None)
