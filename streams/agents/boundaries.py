"""Where a topic has grown: nothing of the new epoch is folded before all of the old one is.

A key's records of the old epoch lie in another partition than those of the new one, perhaps with another owner. So each
agent waits at the boundary until the group's marks have reached it in every partition that there was before.
"""

from __future__ import annotations

from typing import Final

from streams.agents.folded_marks import FoldedMarks
from streams.agents.protocol import NotYet
from streams.event_log.epochs import GrowingLog, boundary_of, partitions_in
from streams.event_log.protocol import Batch, Epochs, TopicPartition

WAIT_S: Final = 0.1
"""Marks are written every second or two."""


class Boundaries:
    """The epochs of the topics that one agent folds, and the boundaries that it has passed."""

    def __init__(self, marks: FoldedMarks, log: GrowingLog) -> None:
        self._marks = marks
        self._log = log
        self._epochs: dict[str, Epochs] = {}
        self._passed: dict[str, int] = {}

    def epochs(self, batch: Batch) -> Epochs:
        """Return the epochs of a batch's topic, the batch's own among them unless it is of a topic since made anew."""
        known = self._epochs.get(batch.topic, ())
        if partitions_in(known, batch.epoch) is None:
            known = self._epochs[batch.topic] = self._log.epochs(batch.topic)
        return known

    def wait(self, batch: Batch) -> None:
        """Raise NotYet if records of earlier epochs, in whatever partition, are not folded and written yet."""
        if batch.epoch <= self._passed.get(batch.topic, 0):
            return
        boundary = boundary_of(self.epochs(batch), batch.epoch)
        if boundary:
            self._check(batch.topic, batch.epoch, boundary)
        self._passed[batch.topic] = batch.epoch

    def forget(self) -> None:
        """Forget what was passed: the marks may have been lost."""
        self._passed.clear()

    def _check(self, topic: str, epoch: int, boundary: dict[int, int]) -> None:
        nexts = self._marks.next_offsets(TopicPartition(topic, partition) for partition in boundary)
        behind = [at for at, offset in nexts.items() if self.holds_more(at, offset, boundary[at.partition])]
        if behind:
            places = ", ".join(f"{at.topic}/{at.partition}" for at in behind)
            raise NotYet(f"waiting at the boundary of epoch {epoch} for {places}", WAIT_S)

    def holds_more(self, at: TopicPartition, offset: int, end: int) -> bool:
        """See the function of that name."""
        return holds_more(self._log, at, offset, end)


def holds_more(log: GrowingLog, at: TopicPartition, offset: int, end: int) -> bool:
    """Return whether a partition has a record at `offset` or later below `end`: retention may have taken all."""
    if offset >= end:
        return False
    following = log.read(*at, offset, 1)
    return bool(following) and following[0].offset < end
