"""Work that is done again and again in a thread of its own, beside what an agent does."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def repeating(work: Callable[[], None], interval_s: float, name: str) -> Iterator[None]:
    """Do `work`, which raises nothing, every `interval_s` while the block runs; it is not under way any more after.

    name: of the thread.
    """
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(interval_s):
            work()

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
