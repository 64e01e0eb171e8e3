"""A child process's lifeline: its standard input is a pipe from the supervisor; when it closes, the supervisor is gone.

It works however the supervisor ended, kill -9 included, and on every system.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

SUPERVISED: Final = "MARQUEE_SUPERVISED"
"""Set in a child's environment: watch the lifeline."""
GRACE_S: Final = 10.0
"""How long a child may take to stop cleanly once its supervisor is gone."""


def watch_if_supervised() -> None:
    """Start watching the lifeline in a supervised child; nothing otherwise."""
    if os.environ.pop(SUPERVISED, None):
        threading.Thread(target=_watch, name="lifeline", daemon=True).start()


def _watch() -> None:
    stdin = 0
    while os.read(stdin, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(GRACE_S)
    os._exit(os.EX_TEMPFAIL)
