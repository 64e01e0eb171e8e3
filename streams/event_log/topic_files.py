"""The folders of an embedded log's topics: one per topic and epoch, `<topic>-<epoch>`, holding an LMDB environment."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from streams.event_log.environments import file_identity
from streams.event_log.epochs import first_epoch
from streams.event_log.protocol import Epochs
from streams.event_log.topic_log import TopicLog


class TopicFiles:
    """The topics' folders below `root`. max_bytes: of each topic; sync: whether appends reach the disk."""

    def __init__(self, root: Path, *, max_bytes: int, sync: bool) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._sync = sync

    def log(self, topic: str, partitions: int, epoch: int) -> TopicLog:
        """Return the records of a topic that was made in `epoch` with `partitions`, whether its files are there or not.
        If they are, they say how its epochs have changed since."""
        made = self._log(topic, epoch, first_epoch(epoch, partitions))
        if not made.exists():
            return made
        recorded = made.recorded_epochs()
        if recorded == made.epochs:
            return made
        made.close()
        return self._log(topic, epoch, recorded)

    def exist(self, topic: str, epoch: int) -> bool:
        """Return whether the topic's files of that epoch are there."""
        return file_identity(self._path(topic, epoch)) is not None

    def make(self, topic: str, partitions: int, epoch: int) -> None:
        """Make the files of an epoch, empty, and remove those of all others."""
        self.remove(topic)
        log = self.log(topic, partitions, epoch)
        log.create()
        log.close()

    def remove(self, topic: str) -> None:
        """Remove a topic's folders; each vanishes at once, so that no process finds half of it."""
        for folder in self._root.glob("*-*"):
            name, _, epoch = folder.name.rpartition("-")
            if name == topic and epoch.isdigit():
                with contextlib.suppress(OSError):
                    folder.rename(self._root / f".deleted-{folder.name}")
        for folder in self._root.glob(".deleted-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _log(self, topic: str, epoch: int, epochs: Epochs) -> TopicLog:
        return TopicLog(self._path(topic, epoch), epochs, max_bytes=self._max_bytes, sync=self._sync)

    def _path(self, topic: str, epoch: int) -> Path:
        return self._root / f"{topic}-{epoch}"
