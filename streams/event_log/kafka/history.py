"""A topic's epochs, folded from the records of the topic `marquee-epochs`. Pure: the same records, the same epochs.

An entry counts only if it follows the epoch that was current when it was appended (`after`). So of several writers that
say the same thing at once one is heard: that is the compare-and-set, and the log's order decides it.

    began     the topic was made, made anew (another id), or its epoch had to be raised: all of it is of a new epoch
    growing   from here on no reader hands records out, so that none is past the ends that come next
    grown     a new epoch from the recorded ends on; only after this are partitions added, by whoever finds too few
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from streams.event_log.epochs import first_epoch, grown
from streams.event_log.protocol import Epochs

FORMER_IDS_KEPT: Final = 64
"""A topic's former ids tell a broker that is behind from a topic made anew; one so far behind there is not."""


class Entry(msgspec.Struct, frozen=True):
    """One record of the topic of epochs. ends: of `grown`, the end offset of each partition there was."""

    what: Literal["began", "growing", "grown"]
    topic: str
    topic_id: str
    after: int
    epoch: int
    partitions: int
    ends: tuple[int, ...] = ()


class TopicHistory(msgspec.Struct, frozen=True):
    """What is known of a topic. growing: the number of partitions that it is about to have, 0 if it is not growing."""

    topic_id: str = ""
    former_ids: tuple[str, ...] = ()
    epochs: Epochs = ()
    growing: int = 0

    @property
    def epoch(self) -> int:
        """Return the current epoch, 0 before the first."""
        return self.epochs[-1].epoch if self.epochs else 0

    @property
    def partitions(self) -> int:
        """Return how many partitions the current epoch has."""
        return self.epochs[-1].partitions if self.epochs else 0


UNKNOWN: Final = TopicHistory()


def fold(history: TopicHistory, entry: Entry) -> TopicHistory:
    """Return the history after an entry; an entry that does not follow changes nothing."""
    if entry.after != history.epoch:
        return history
    if entry.what == "began":
        renamed = history.topic_id and history.topic_id != entry.topic_id
        former = (*history.former_ids, history.topic_id) if renamed else history.former_ids
        return TopicHistory(entry.topic_id, former[-FORMER_IDS_KEPT:], first_epoch(entry.epoch, entry.partitions))
    if entry.topic_id != history.topic_id or entry.partitions <= history.partitions:
        return history
    if entry.what == "growing":
        return msgspec.structs.replace(history, growing=entry.partitions)
    epochs = grown(history.epochs, entry.epoch, entry.partitions, entry.ends)
    return msgspec.structs.replace(history, epochs=epochs, growing=0)


def began(topic: str, history: TopicHistory, topic_id: str, partitions: int, floor: int) -> Entry:
    """Return the entry for a topic that is new, was made anew, or must have the epoch `floor` at least."""
    return Entry("began", topic, topic_id, history.epoch, max(history.epoch + 1, floor), partitions)


def growing(topic: str, history: TopicHistory, partitions: int) -> Entry:
    """Return the entry that announces a growth."""
    return Entry("growing", topic, history.topic_id, history.epoch, history.epoch, partitions)


def has_grown(topic: str, history: TopicHistory, ends: tuple[int, ...]) -> Entry:
    """Return the entry that begins the epoch of the growth that was announced."""
    return Entry("grown", topic, history.topic_id, history.epoch, history.epoch + 1, history.growing, ends)


Step = Literal["settled", "behind", "begin", "announce", "end", "add"]


def next_step(history: TopicHistory, topic_id: str, partitions: int, floor: int) -> Step:
    """Return what is to do, given a topic's id and partitions as a broker says, and the least epoch it may have.

    behind: the broker's answer is out of date; begin: a `began` entry; announce: partitions were added by other means,
    a `growing` entry; end: read the ends, a `grown` entry; add: partitions are to be added."""
    if topic_id in history.former_ids:
        return "behind"
    if topic_id != history.topic_id or history.epoch < floor:
        return "begin"
    if history.growing:
        return "end"
    if partitions != history.partitions:
        return "announce" if partitions > history.partitions else "add"
    return "settled"
