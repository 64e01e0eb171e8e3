"""Errors, named by what the caller should do.

MarqueeError
├── FixRequest        the input is wrong: names the field and the fix, never worth a retry as it is
├── SlowDown          a bound was reached: retry after `retry_after_s`, slower
├── TryAgain          something this depends on is away for now: retry after `retry_after_s`
├── Undeliverable     a message that no retry can help: goes to the dead letters with its reason
├── Corrupt           stored bytes fail their check: restore or rebuild them
└── Fenced            a newer owner has taken over: stop, drop what is held in memory, rejoin
"""

from __future__ import annotations


class MarqueeError(Exception):
    """Base of every error that Marquee raises on purpose."""


class FixRequest(MarqueeError):  # noqa: N818 - errors are named by what the caller should do
    """The request or message is wrong; `field` names where and `fix` says how to mend it."""

    def __init__(self, field: str, fix: str) -> None:
        super().__init__(f"{field}: {fix}")
        self.field = field
        self.fix = fix


class SlowDown(MarqueeError):  # noqa: N818
    """A bounded resource is full; the caller should retry after `retry_after_s` seconds, at a lower rate."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TryAgain(MarqueeError):  # noqa: N818
    """A dependency is unavailable for now; the same call may succeed after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Undeliverable(MarqueeError):  # noqa: N818
    """A message that cannot be processed, now or later; `reason` is a short machine-readable code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Corrupt(MarqueeError):  # noqa: N818
    """Stored bytes do not match their checksum, version or shape."""


class Fenced(MarqueeError):  # noqa: N818
    """Another process owns what this one tried to write."""
