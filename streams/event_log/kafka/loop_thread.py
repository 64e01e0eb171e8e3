"""An asyncio loop in a thread of its own, to which other threads hand their calls."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from streams.errors import TryAgain

Result = TypeVar("Result")


class LoopThread:
    """A running loop. Its thread is a daemon: a process that forgets to close it still ends."""

    def __init__(self, name: str) -> None:
        self._pid = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Start work in the loop. Raises TryAgain in a process forked off the one that has the thread."""
        if os.getpid() != self._pid or self.loop.is_closed():
            work.close()
            raise TryAgain("the Kafka log was closed, or opened before this process was forked: open it anew")
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do work in the loop, and wait for it."""
        future = self.submit(work)
        try:
            return future.result()
        except CancelledError:
            raise TryAgain("the Kafka log was closed meanwhile") from None
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Cancel what still runs, and end the thread."""
        if os.getpid() != self._pid or not self._thread.is_alive():
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            left = asyncio.all_tasks(self.loop)
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self.loop.run_until_complete(asyncio.sleep(0))  # closed connections are told so in the next round
        finally:
            self.loop.close()
