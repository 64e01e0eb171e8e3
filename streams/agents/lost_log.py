"""A log that was lost: the one that is there now is not the one that states and files were made from.

A new log counts its epochs from the first. What is appended to it then has positions that stores take for old, and
would be passed over. So whoever takes a topic over compares the log with what was stored of it, before anything is
folded, and has the log begin in a higher epoch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from streams import metrics
from streams.errors import TryAgain
from streams.event_log.epochs import partitions_in
from streams.event_log.protocol import Epochs

logger = logging.getLogger(__name__)


class Known(NamedTuple):
    """What was stored of a topic: something of `epoch`, of the topic with that id ("" if that was not noted)."""

    epoch: int
    topic_id: str


class RaisableLog(Protocol):
    """What is asked of the log."""

    def topic_id(self, topic: str) -> str: ...
    def epochs(self, topic: str) -> Epochs: ...
    def raise_epoch(self, topic: str, above: int) -> None: ...


def begin_above(log: RaisableLog, topic: str, stored: Iterable[Known]) -> None:
    """Raise a topic's epoch above what was stored of a lost log; to what was stored, where the topic is the same and
    only its epochs were lost. Raises TryAgain if the log changes meanwhile."""
    stored = set(stored)
    above = _lost_epoch(log, topic, stored)
    if above is None:
        return
    logger.error("the log is not the one that was stored: a new epoch begins", extra={"topic": topic, "above": above})
    log.raise_epoch(topic, above)
    metrics.LOG_LOST.labels(topic).inc()
    if _lost_epoch(log, topic, stored) is not None:
        raise TryAgain(f"the epochs of {topic} change at the moment")


def _lost_epoch(log: RaisableLog, topic: str, stored: Iterable[Known]) -> int | None:
    """Return above which epoch the log has to be; None if it is the one that was stored, or above it already."""
    topic_id, epochs = log.topic_id(topic), log.epochs(topic)
    newest = epochs[-1].epoch
    lost = []
    for known in stored:
        same = known.topic_id == topic_id != ""
        if known.epoch > newest:
            lost.append(known.epoch - 1 if same else known.epoch)
        elif known.topic_id and topic_id and not same and partitions_in(epochs, known.epoch) is not None:
            lost.append(newest)
    return max(lost, default=None)
