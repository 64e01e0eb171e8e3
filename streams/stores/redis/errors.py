"""What a caller should do about an error of Redis."""

from __future__ import annotations

from redis.exceptions import OutOfMemoryError

from streams.errors import MarqueeError, SlowDown, TryAgain

RETRY_AFTER_S = 0.1
"""A restarted server answers again within that or so; callers back off by themselves."""


def as_marquee_error(error: Exception, who: object) -> MarqueeError:
    """Return SlowDown for a server (`who`) that is full, TryAgain for all else.

    Also for a refused password: a worker has to wait until that is mended, and must not take its messages for wrong.
    """
    if isinstance(error, MarqueeError):
        return error
    if isinstance(error, OutOfMemoryError):
        return SlowDown(f"the hot store {who} is full: {error}")
    return TryAgain(f"the hot store {who} is away: {error or type(error).__name__}", RETRY_AFTER_S)


def reply_error(message: str, who: object) -> MarqueeError:
    """Return the same for the text of an error reply."""
    return as_marquee_error(OutOfMemoryError(message) if message.startswith("OOM") else OSError(message), who)
