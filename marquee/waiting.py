"""Waiting for agents to catch up, and for serving to be ready, each within bounds."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Sequence
from typing import Final

from marquee.lag import lag
from streams.errors import TryAgain
from streams.event_log.protocol import EventLog

POLL_S: Final = 0.1
STALL_S: Final = 60.0
"""An agent that does not come forward for this long has a reason, which its log tells."""
READY_S: Final = 60.0
PROBE_TIMEOUT_S: Final = 2.0
NO_ANSWER: Final = "no answer"


def wait_until_consumed(
    log: EventLog,
    group: str,
    topics: Sequence[str],
    on_lag: Callable[[int], None],
    stall_s: float = STALL_S,
    sleep: Callable[[float], None] = time.sleep,
    now_s: Callable[[], float] = time.monotonic,
) -> None:
    """Return once a consumer group has committed all there is. Raises TryAgain if it stands still for `stall_s`."""
    least, since_s = lag(log, group, topics), now_s()
    while least:
        on_lag(least)
        sleep(POLL_S)
        left = lag(log, group, topics)
        if left < least:
            least, since_s = left, now_s()
        elif now_s() - since_s > stall_s:
            raise TryAgain(f"{group} has stood still for {stall_s:g} s with {left:,} records to go; see its log")
    on_lag(0)


def wait_until_ready(host: str, port: int, *, degraded: bool = False, ready_s: float = READY_S) -> str | None:
    """Return once the platform can serve fresh pages: None; or, after `ready_s`, what is missing.

    degraded: be content with any answer, and return what it says is missing.
    """
    deadline_s = time.monotonic() + ready_s
    while (missing := probe(host, port)) is not None and time.monotonic() < deadline_s:
        if degraded and not missing.startswith(NO_ANSWER):
            break
        time.sleep(POLL_S)
    return missing


def probe(host: str, port: int) -> str | None:
    """Return what keeps a platform from serving fresh pages now, None if nothing does."""
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        return f"{NO_ANSWER} on port {port} ({error})"
    finally:
        connection.close()
    if answer.status == 200:
        return None
    try:
        problems = json.loads(body).get("problems", {})
        return "; ".join(f"{part}: {reason}" for part, reason in problems.items()) or f"status {answer.status}"
    except (ValueError, AttributeError):
        return f"status {answer.status}"
