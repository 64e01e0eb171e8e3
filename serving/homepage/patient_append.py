"""Appends to a log that may hang: waited for, but not for ever; what became of one is looked at later."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

from streams.event_log.protocol import Appended, EventLog, Message


class PatientAppend:
    """Appends messages to one topic, one call at a time. One thread's."""

    def __init__(self, log: EventLog, topic: str, wait_s: float | None) -> None:
        """wait_s: how long an append may keep its caller; None for a log that does not hang: it needs no other thread,
        which would cost cache hits a tenth of their time."""
        self._log = log
        self._topic = topic
        self._wait_s = wait_s
        self._under_way: Future[list[Appended]] | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether an append that was given up waiting for has not ended, or has and nobody has looked."""
        return self._under_way is not None

    def append(self, messages: Sequence[Message]) -> bool:
        """Append messages; return False if that takes longer than `wait_s`: `settle` is to be asked then, before any
        other append. Raises what the log raises."""
        assert self._under_way is None
        if self._wait_s is None:
            self._log.append(self._topic, messages)
            return True
        future: Future[list[Appended]] = Future()
        self._under_way = future
        arguments = (future, self._log, self._topic, messages)
        threading.Thread(target=_append, args=arguments, name=f"append-{self._topic}", daemon=True).start()
        return self.settle(self._wait_s)

    def settle(self, wait_s: float = 0.0) -> bool:
        """Return whether the append under way has ended well, False if it has not ended. Raises what the log raised."""
        assert self._under_way is not None
        try:
            self._under_way.exception(wait_s)
        except FutureTimeoutError:
            return False
        future, self._under_way = self._under_way, None
        future.result()
        return True


def _append(future: Future[list[Appended]], log: EventLog, topic: str, messages: Sequence[Message]) -> None:
    try:
        future.set_result(log.append(topic, messages))
    except Exception as error:  # noqa: BLE001 - whoever settles it is to have it
        future.set_exception(error)
