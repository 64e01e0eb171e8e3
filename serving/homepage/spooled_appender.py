"""Appends batches to a topic in order, whatever becomes of the log: what it cannot take waits in a spool file.

While the log is away or full, batches go to the spool, which is drained, in order, once the log is back. An append that
hangs is given up waiting for, and what became of it is looked at later (see `patient_append`).
"""

from __future__ import annotations

import logging
import time
from typing import Final, NamedTuple

from prometheus_client import Counter

from serving.homepage.patient_append import PatientAppend
from serving.homepage.spool import Spool
from streams.errors import MarqueeError
from streams.event_log.protocol import EventLog, Message

logger = logging.getLogger(__name__)

BATCH_MAX: Final = 2_000
FIRST_RETRY_S: Final = 0.1
MAX_RETRY_S: Final = 2.0
APPEND_S: Final = 1.0
"""How long a log behind a network is waited for: its callers' queues hold what comes meanwhile."""
HANGS: Final = "the log does not answer"


class Counts(NamedTuple):
    """Of messages: those appended to the log, and those put into the spool before that."""

    appended: Counter
    spooled: Counter


class SpooledAppender:
    """One topic's, and one thread's. Lossless while log or spool can be written."""

    def __init__(self, log: EventLog, topic: str, spool: Spool, append_s: float | None, counts: Counts) -> None:
        """append_s: how long a log that hangs is waited for, None for one that does not."""
        self._topic = topic
        self._appender = PatientAppend(log, topic, append_s)
        self._spool = spool
        self._counts = counts
        self._unanswered: list[Message] = []
        """The messages of an append that hangs, or has failed and could not be spooled either."""
        self._drained_to: int | None = None
        """Where they end in the spool, None if they are not in it."""
        self._retry_at_s = 0.0
        self._retry_s = 0.0
        self.problem: str | None = None
        """Why the last append failed, None if it did not."""

    def write(self, batch: list[Message]) -> bool:
        """Append a batch to the log, or have that under way, or spool it; False if nothing could take it: it is to be
        written again then, before any other."""
        if self._unanswered and not self._appender.is_under_way:
            return False
        if self._append(batch):
            return True
        try:
            self._spool.append(batch)
        except MarqueeError as error:
            self.problem = f"{self.problem}; {error}"
            return False
        self._counts.spooled.inc(len(batch))
        return True

    def settle(self) -> None:
        """See what became of an append that was given up waiting for; what failed is written again, or spooled."""
        if not self._appender.is_under_way:
            self._write_unanswered()
            return
        try:
            if not self._appender.settle():
                return
        except MarqueeError as error:
            self.back_off(str(error))
            self._write_unanswered()
            return
        if self._drained_to is not None:
            self._spool.drained(self._drained_to)
        self._appended(self._unanswered)
        self._unanswered, self._drained_to = [], None

    def drain(self) -> None:
        """Append what is in the spool, if that is due."""
        while self._spool.waiting_bytes and not self._unanswered and time.monotonic() >= self._retry_at_s:
            try:
                messages, end = self._spool.peek(BATCH_MAX)
                if not messages or self._appender.append(messages):
                    self._spool.drained(end)
                    self._appended(messages)
                else:
                    self._unanswered, self._drained_to = messages, end
                    self.back_off(HANGS)
            except MarqueeError as error:
                self.back_off(str(error))
                break

    def back_off(self, reason: str) -> None:
        """Leave the log alone for a while, longer each time in a row."""
        self.problem = f"{self._topic} cannot be appended: {reason}"
        self._retry_s = min(max(FIRST_RETRY_S, self._retry_s * 2), MAX_RETRY_S)
        self._retry_at_s = time.monotonic() + self._retry_s

    def retry_now(self) -> None:
        """Leave the log alone no longer: there will be no later."""
        self._retry_at_s = 0.0

    def close(self) -> None:
        """Put into the spool what a log that hangs may not have: it may then be there twice."""
        try:
            self._spool_unanswered()
        except MarqueeError as error:
            logger.error("%d %s may be lost: %s", len(self._unanswered), self._topic, error)

    def _append(self, batch: list[Message]) -> bool:
        """Append to the log, or have that under way, unless that failed a moment ago or older messages wait in the
        spool; return whether the batch is seen to."""
        if self._spool.waiting_bytes or self._appender.is_under_way or time.monotonic() < self._retry_at_s:
            return False
        try:
            if self._appender.append(batch):
                self._appended(batch)
            else:
                self._unanswered = batch
                self.back_off(HANGS)
        except MarqueeError as error:
            self.back_off(str(error))
            return False
        return True

    def _write_unanswered(self) -> None:
        """Write the messages of an append that has failed, unless they are in the spool still."""
        batch = [] if self._drained_to is not None else self._unanswered
        self._unanswered, self._drained_to = [], None
        if batch and not self.write(batch):
            self._unanswered = batch

    def _spool_unanswered(self) -> None:
        """Put a batch into the spool of which it is not known whether it is in the log: it may then be there twice."""
        if self._unanswered and self._drained_to is None:
            self._spool.append(self._unanswered)
            self._counts.spooled.inc(len(self._unanswered))
        self._unanswered, self._drained_to = [], None

    def _appended(self, messages: list[Message]) -> None:
        self._counts.appended.inc(len(messages))
        self.problem, self._retry_s = None, 0.0
