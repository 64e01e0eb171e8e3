"""Member events that flow into the log at a rate, from a process of their own, so that they slow nobody's clock.

python -m load_tests.background_events RATE     until it is told to stop; members and titles come on standard input
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from streams.event_log.open import open_event_log
from streams.event_log.protocol import Message
from streams.events import Event, EventType, encode_event
from streams.settings import Settings, load_settings
from streams.topics import MEMBER_EVENTS

TICK_S: Final = 0.01
"""Events are appended this often: the bursts of a busy ingest."""
KINDS: Final[tuple[EventType, ...]] = ("view", "click", "play", "complete", "like", "skip")
STOP_TIMEOUT_S: Final = 10.0


@contextmanager
def background_events(
    settings: Settings, members: Sequence[str], items: Sequence[str], rate: float
) -> Iterator[subprocess.Popen[bytes]]:
    """Have `rate` events a second of these members and titles appended while the block runs."""
    urls = {f"MARQUEE_{name.upper()}": str(getattr(settings, name)) for name in ("state", "log_url", "partitions")}
    command = [sys.executable, "-m", "load_tests.background_events", str(rate)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | urls)
    assert process.stdin is not None
    process.stdin.write(json.dumps({"members": list(members), "items": list(items)}).encode())
    process.stdin.close()
    try:
        yield process
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)


def new_event(member: str, item: str, kind: EventType) -> Message:
    """Return an event of now, ready to append."""
    event = Event(uuid.uuid4().hex, kind, member, time.time_ns() // 1_000_000, item)
    return Message(member.encode(), encode_event(event))


def main(rate: float) -> None:
    """Append events until the process is ended."""
    wanted = json.load(sys.stdin)
    log, rng = open_event_log(load_settings()), random.Random(1)
    started_s, sent = time.perf_counter(), 0
    while True:
        due = int((time.perf_counter() - started_s) * rate)
        events = [
            new_event(rng.choice(wanted["members"]), rng.choice(wanted["items"]), rng.choice(KINDS))
            for _ in range(due - sent)
        ]
        log.append(MEMBER_EVENTS, events)
        sent = due
        time.sleep(TICK_S)


if __name__ == "__main__":
    main(float(sys.argv[1]))
