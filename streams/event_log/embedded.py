"""The embedded event log: LMDB files below one folder, for any number of processes of one machine.

    <root>/meta/              which topics there are, and their epochs
    <root>/topics/<name>-<epoch>/   the records of one topic
    <root>/groups/            consumer groups and their commits
    <root>/waiting/<name>/    pipes of the consumers that wait for a topic
    <root>.epochs             a witness of the epochs, outside the folder

If the folder is lost while the log is in use, every call raises TryAgain until it is back. If an empty folder is put in
its place, the topics begin anew there, in higher epochs.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from streams.errors import FixRequest, SlowDown, TryAgain
from streams.event_log.embedded_consumer import EmbeddedConsumer
from streams.event_log.environments import FilesMissing
from streams.event_log.epochs import epoch_at
from streams.event_log.group_store import GroupStore
from streams.event_log.membership import Membership
from streams.event_log.protocol import Appended, Epochs, Message, Record, TopicPartition
from streams.event_log.retention import RetentionPolicy, read_by_all, retain
from streams.event_log.topic_directory import TopicDirectory
from streams.event_log.topic_files import TopicFiles
from streams.event_log.topic_log import MAX_PARTITIONS, Grown, TopicLog
from streams.event_log.wakeups import Bell
from streams.metrics import LOG_APPEND_SECONDS, LOG_APPENDED, LOG_EXPIRED, LOG_REFUSED, LOG_USED_BYTES

MAX_NAME_BYTES: Final = 128
"""Topics and groups are parts of LMDB keys, which have 511 bytes at most."""

RETAINED_SHARE: Final = 0.75
"""Retention by bytes starts above this share of a topic's bound, so that appends rarely meet the bound itself."""

_TOPIC_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")

Result = TypeVar("Result")


def wall_clock_ms() -> int:
    """Return the Unix time in ms."""
    return time.time_ns() // 1_000_000


class EmbeddedLog:
    """An event log in a folder; see streams.event_log.protocol.EventLog."""

    def __init__(
        self,
        root: Path,
        *,
        max_bytes: int = 8 << 30,
        retention_ms: int = 90 * 86_400_000,
        sync: bool = True,
        session_timeout_ms: int = 6_000,
        clock_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._root = root
        self._retention = RetentionPolicy(retention_ms, int(max_bytes * RETAINED_SHARE))
        self._session_timeout_ms = session_timeout_ms
        self.now_ms = clock_ms
        self._files = TopicFiles(root / "topics", max_bytes=max_bytes, sync=sync)
        self._directory = TopicDirectory(root / "meta", root.with_name(f"{root.name}.epochs"), self._files, sync=sync)
        self._groups = GroupStore(root / "groups", sync=sync)
        self._topics: dict[str, TopicLog] = {}
        self._bells: dict[str, Bell] = {}
        self._wanted: dict[str, int] = {}
        self._lock = threading.RLock()
        self._made = False

    def create_topic(self, topic: str, partitions: int) -> None:
        """Create a topic unless it exists; if its files are lost, it begins anew in a higher epoch."""
        _check_topic(topic, partitions)
        with self._lock:
            self._wanted[topic] = partitions
            self._make()
            entry = self._directory.establish(topic, partitions)
            log = self._files.log(topic, entry.partitions, entry.epoch)
            if log.partitions != partitions:
                log.close()
                raise FixRequest("partitions", f"topic {topic} has {log.partitions}; `grow_topic` gives it more")
            self._topics[topic] = log

    def delete_topic(self, topic: str) -> None:
        """Delete a topic and its records; made again, it has a higher epoch."""
        with self._lock:
            self.topic_log(topic)
            self._directory.retire(topic)
            self._wanted.pop(topic, None)
            self._topics.pop(topic).close()

    def partition_count(self, topic: str) -> int:
        """Return the number of partitions. Raises FixRequest for an unknown topic."""
        return self.epochs(topic)[-1].partitions

    def epoch(self, topic: str) -> int:
        """Return the topic's epoch."""
        return self.epochs(topic)[-1].epoch

    def epoch_at(self, topic: str, partition: int, offset: int) -> int:
        """Return the epoch of the record at an offset of a partition."""
        return epoch_at(self.epochs(topic), partition, offset)

    def epochs(self, topic: str) -> Epochs:
        """Return the topic's epochs since it was made, oldest first."""
        return self._on(topic, lambda log: log.current_epochs())

    def grow_topic(self, topic: str, partitions: int) -> None:
        """Give a topic more partitions, as one write that every later append of any process heeds."""
        _check_topic(topic, partitions)
        count = self.partition_count(topic)
        if partitions < count:
            raise FixRequest("partitions", f"topic {topic} has {count}, and never fewer")
        if partitions > count:
            with self._lock:
                self._directory.begin_epoch(topic, lambda epoch: self.topic_log(topic).grow(partitions, epoch))
                self.look_again(topic)
            self._bell(topic).ring()

    def topic_id(self, topic: str) -> str:
        """Return what tells the topic from every other of its name; "" for one that former code made."""
        self.topic_log(topic)
        entry = self._directory.find(topic)
        return entry.topic_id if entry is not None else ""

    def raise_epoch(self, topic: str, above: int) -> None:
        """Have all of a topic be of an epoch above `above`, as one write; see the protocol."""
        if self.epoch(topic) <= above:
            with self._lock:
                self._directory.begin_epoch(topic, lambda epoch: self.topic_log(topic).begin_anew(epoch), above)
                self.look_again(topic)
            self._bell(topic).ring()

    def append(self, topic: str, messages: Sequence[Message]) -> list[Appended]:
        """Append all messages or none; see the protocol."""
        if not messages:
            return []
        started_s = time.perf_counter()
        try:
            appended = self._on(topic, lambda log: log.append(messages, self.now_ms))
        except (SlowDown, TryAgain) as error:
            LOG_REFUSED.labels(topic, type(error).__name__).inc(len(messages))
            raise
        self._bell(topic).ring()
        LOG_APPENDED.labels(topic).inc(len(appended))
        LOG_APPEND_SECONDS.labels(topic).observe(time.perf_counter() - started_s)
        return appended

    def read(self, topic: str, partition: int, offset: int, max_records: int) -> list[Record]:
        """Return up to `max_records` records from `offset` on, or from the start offset if that is higher."""
        return self._on(topic, lambda log: log.read(partition, offset, max_records))

    def start_offset(self, topic: str, partition: int) -> int:
        """Return the offset of the oldest record kept."""
        return self._on(topic, lambda log: log.bounds(partition)[0])

    def end_offset(self, topic: str, partition: int) -> int:
        """Return the offset that the next record will get."""
        return self._on(topic, lambda log: log.bounds(partition)[1])

    def delete_records(self, topic: str, partition: int, before_offset: int) -> int:
        """Delete the records below `before_offset`; return how many there were."""
        return self._on(topic, lambda log: log.delete_before(partition, before_offset))

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        """Return the group's committed offset; commits carry the epoch in which the topic was made."""
        commit = self._groups.committed(group, partition)
        return commit.offset if commit and commit.epoch == self.epochs(partition.topic)[0].epoch else None

    def consumer(self, group: str, topics: Sequence[str]) -> EmbeddedConsumer:
        """Join a consumer group, at the first poll. Raises FixRequest for an unknown topic."""
        _check_group(group, topics)
        for topic in topics:
            self.partition_count(topic)
        subscribed = sorted(set(topics))
        membership = Membership(self._groups, group, subscribed, self._session_timeout_ms)
        return EmbeddedConsumer(self, group, subscribed, membership)

    def enforce_retention(self, now_ms: int) -> int:
        """Delete records past the age bound, then, where a topic is over 3/4 of its size bound, the oldest that every
        group has read; return how many went."""
        deleted = 0
        for topic in self.topics():
            deleted += self._on(topic, partial(self._retain, topic, now_ms))
        LOG_EXPIRED.inc(deleted)
        return deleted

    def topics(self) -> list[str]:
        """Return the names of the topics there are."""
        return self._directory.names()

    def used_bytes(self, topic: str) -> int:
        """Return the bytes that a topic's records take up."""
        return self._on(topic, lambda log: log.used_bytes())

    def close(self) -> None:
        """Release the files; leave consumers to their own close."""
        with self._lock:
            for log in self._topics.values():
                log.close()
            self._topics.clear()
            for bell in self._bells.values():
                bell.close()
            self._directory.close()
            self._groups.close()

    def topic_log(self, topic: str) -> TopicLog:
        """Return the records of a topic in its epoch as last known. Raises FixRequest for an unknown topic."""
        log = self._topics.get(topic)
        if log is not None:
            return log
        with self._lock:
            entry = self._directory.find(topic)
            if entry is None and topic in self._wanted:
                self.create_topic(topic, self._wanted[topic])
            elif entry is None or not entry.partitions:
                raise FixRequest("topic", f"there is no topic {topic!r}")
            else:
                self._topics[topic] = self._files.log(topic, entry.partitions, entry.epoch)
            return self._topics[topic]

    def look_again(self, topic: str) -> None:
        """Read anew how a topic has grown."""
        with self._lock:
            former = self._topics.pop(topic, None)
            self.topic_log(topic)
            if former is not None:
                former.close()

    def waiters(self, topic: str) -> Path:
        """Return the folder of the consumers that wait for a topic."""
        return self._root / "waiting" / topic

    def mend(self) -> None:
        """After files went missing: forget what has gone, and begin anew in an empty folder put in the log's place."""
        with self._lock:
            for topic in [topic for topic, log in self._topics.items() if not log.exists()]:
                self._topics.pop(topic).close()
            if self._root.is_dir() or not self._made:
                self._make()

    def _bell(self, topic: str) -> Bell:
        bell = self._bells.get(topic)
        return bell if bell is not None else self._bells.setdefault(topic, Bell(self.waiters(topic)))

    def _make(self) -> None:
        self._directory.create()
        self._groups.create()
        self._made = True

    def _on(self, topic: str, operation: Callable[[TopicLog], Result]) -> Result:
        try:
            return operation(self.topic_log(topic))
        except FilesMissing:
            self.mend()
        except Grown:
            self.look_again(topic)
        return operation(self.topic_log(topic))

    def _retain(self, topic: str, now_ms: int, log: TopicLog) -> int:
        reading = self._groups.reading(topic, int(time.monotonic() * 1000))
        limits = {
            partition: read_by_all(self._groups.commits_in(TopicPartition(topic, partition)), reading, log.born, now_ms)
            for partition in range(log.partitions)
        }
        deleted = retain(log, self._retention, limits, now_ms)
        LOG_USED_BYTES.labels(topic).set(log.used_bytes())
        return deleted


def _check_topic(topic: str, partitions: int) -> None:
    if not _TOPIC_NAME.fullmatch(topic) or len(topic) > MAX_NAME_BYTES:
        raise FixRequest("topic", f"a name has 1 to {MAX_NAME_BYTES} of A-Z a-z 0-9 . _ -, the first not a dot")
    if not 1 <= partitions <= MAX_PARTITIONS:
        raise FixRequest("partitions", f"must be 1 to {MAX_PARTITIONS}, not {partitions}")


def _check_group(group: str, topics: Sequence[str]) -> None:
    if not 1 <= len(group.encode()) <= MAX_NAME_BYTES:
        raise FixRequest("group", f"a name has 1 to {MAX_NAME_BYTES} bytes")
    if not topics:
        raise FixRequest("topics", "name at least one")
