"""Dead letters: messages that no retry can help, kept with their reason, to be looked at and driven again.

They are messages of the topic `dead-letters`, keyed by where the message came from, so that one put twice (an agent met
it again after a restart) lies in one partition and is listed once. Driving one again leaves a marker beside it, and a
second drive passes over it.
"""

from __future__ import annotations

import heapq
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec

from streams import metrics
from streams.errors import SlowDown
from streams.event_log.protocol import EventLog, Message, Record
from streams.topics import DEAD_LETTERS

MAX_LETTERS: Final = 25_000
"""Letters kept in each partition of the topic; the oldest go first. At a kilobyte each, 100 MB over 4 partitions."""

MAX_RAW_BYTES: Final = 640 << 10
"""More of a message's key and value is cut off: base64 makes 4 bytes of 3, and a log message has 1 MiB at most. Longer
than any message that the platform's own topics allow."""

MAX_DETAIL_CHARS: Final = 500
REMEMBERED: Final = 10_000
"""Origins that a process remembers having put, so that redelivery seldom puts one twice."""

TRIM_EVERY: Final = 500
"""Letters put between looks at the bound."""

READ_RECORDS: Final = 500
APPEND_BYTES: Final = 8 << 20
"""Messages of one append, by size: an append is one transaction."""

Item = TypeVar("Item")


class Origin(NamedTuple):
    """Where a message was read."""

    topic: str
    partition: int
    epoch: int
    offset: int

    def key(self) -> bytes:
        """Return the key of its dead letter."""
        return f"{self.topic}/{self.partition}/{self.epoch}/{self.offset}".encode()


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A message put aside. reason: a short code; time_ms: when it was put aside (Unix).

    message_key, raw: the message's own bytes (base64 in JSON), cut off to MAX_RAW_BYTES together if `truncated`.
    """

    topic: str
    partition: int
    epoch: int
    offset: int
    reason: str
    detail: str
    time_ms: int
    message_key: bytes
    raw: bytes
    truncated: bool = False

    @property
    def origin(self) -> Origin:
        """Where the message was read."""
        return Origin(self.topic, self.partition, self.epoch, self.offset)


class Rejected(NamedTuple):
    """A record and why it was rejected."""

    record: Record
    reason: str
    detail: str


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(DeadLetter)
_REDRIVEN: Final = b'{"redriven":true}'
"""The message that marks the letter of the same key as driven again."""


class DeadLetters:
    """Puts messages aside. Thread-safe as far as the log is; the memory of what was put is only a saving."""

    def __init__(self, log: EventLog, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._log = log
        self._clock_ms = clock_ms
        self._recent: OrderedDict[Origin, None] = OrderedDict()
        self._since_trim = TRIM_EVERY

    def put(self, batch_topic: str, partition: int, record: Record, reason: str, detail: str) -> None:
        """Put one message aside, durably. Raises TryAgain if the log is away."""
        self.put_all(batch_topic, partition, [Rejected(record, reason, detail)])

    def put_all(self, batch_topic: str, partition: int, rejected: Sequence[Rejected], epoch: int | None = None) -> None:
        """Put messages of one partition aside, in one append: much cheaper than one by one.

        epoch: in which they were read; the topic's current one by default.
        """
        epoch = self._log.epoch(batch_topic) if epoch is None else epoch
        letters = {
            letter.origin: letter
            for letter in (self._letter(batch_topic, partition, epoch, each) for each in rejected)
            if letter.origin not in self._recent
        }
        if not letters:
            return
        self._append([Message(origin.key(), _encoder.encode(letter)) for origin, letter in letters.items()])
        for origin, letter in letters.items():
            self._remember(origin)
            metrics.DEAD_LETTERED.labels(letter.topic, letter.reason).inc()

    def _letter(self, topic: str, partition: int, epoch: int, rejected: Rejected) -> DeadLetter:
        """Return the letter of a rejected record."""
        record = rejected.record
        message_key = record.key[:MAX_RAW_BYTES]
        raw = record.value[: MAX_RAW_BYTES - len(message_key)]
        return DeadLetter(
            topic=topic,
            partition=partition,
            epoch=epoch,
            offset=record.offset,
            reason=rejected.reason,
            detail=rejected.detail[:MAX_DETAIL_CHARS],
            time_ms=self._clock_ms(),
            message_key=message_key,
            raw=raw,
            truncated=len(message_key) + len(raw) < len(record.key) + len(record.value),
        )

    def _append(self, messages: Sequence[Message]) -> None:
        """Append, in parts small enough for a log; the oldest letters make room if the topic is full."""
        for part in _in_parts(messages, lambda message: len(message.value)):
            self._trim_when_due(len(part))
            try:
                self._log.append(DEAD_LETTERS, part)
            except SlowDown:
                self._halve()
                self._log.append(DEAD_LETTERS, part)

    def _trim_when_due(self, count: int) -> None:
        self._since_trim += count
        if self._since_trim < TRIM_EVERY:
            return
        self._since_trim = 0
        for partition in range(self._log.partition_count(DEAD_LETTERS)):
            self._log.delete_records(
                DEAD_LETTERS, partition, self._log.end_offset(DEAD_LETTERS, partition) - MAX_LETTERS
            )

    def _halve(self) -> None:
        for partition in range(self._log.partition_count(DEAD_LETTERS)):
            start = self._log.start_offset(DEAD_LETTERS, partition)
            end = self._log.end_offset(DEAD_LETTERS, partition)
            self._log.delete_records(DEAD_LETTERS, partition, (start + end + 1) // 2)

    def _remember(self, origin: Origin) -> None:
        self._recent[origin] = None
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)


def list_dead_letters(log: EventLog, limit: int, reason: str | None = None) -> list[DeadLetter]:
    """Return up to `limit` letters not driven again yet, the newest first; only those with `reason` if it is given."""
    letters = (letter for letter in open_letters(log) if reason in (None, letter.reason))
    return heapq.nlargest(limit, letters, key=lambda letter: (letter.time_ms, letter.origin))


def redrive(log: EventLog, select: Callable[[DeadLetter], bool] = lambda _: True) -> int:
    """Append the raw messages of the selected letters anew to their topics; return how many.

    What was driven once is passed over by later runs. A run that dies between an append and its markers may leave the
    messages of that one append to be driven twice; agents recognise repeated events by their id. Truncated letters
    stay. Run one at a time.
    """
    chosen = (letter for letter in open_letters(log) if not letter.truncated and select(letter))
    count = 0
    for group in _in_parts(chosen, lambda letter: len(letter.message_key) + len(letter.raw)):
        by_topic: dict[str, list[DeadLetter]] = {}
        for letter in group:
            by_topic.setdefault(letter.topic, []).append(letter)
        for topic, letters in by_topic.items():
            log.append(topic, [Message(letter.message_key, letter.raw) for letter in letters])
            log.append(DEAD_LETTERS, [Message(letter.origin.key(), _REDRIVEN) for letter in letters])
            metrics.REDRIVEN.labels(topic).inc(len(letters))
        count += len(group)
    return count


def open_letters(log: EventLog) -> Iterator[DeadLetter]:
    """Yield the letters not driven again yet, each origin's first, in the order of partition and offset."""
    for partition in range(log.partition_count(DEAD_LETTERS)):
        done = {record.key for record in _records(log, partition) if record.value == _REDRIVEN}
        for record in _records(log, partition):
            letter = None if record.key in done else _decode(record.value)
            if letter is not None:
                done.add(record.key)
                yield letter


def _records(log: EventLog, partition: int) -> Iterator[Record]:
    """Yield a partition's records up to the end as it is now: what is appended meanwhile would never end."""
    offset, end = log.start_offset(DEAD_LETTERS, partition), log.end_offset(DEAD_LETTERS, partition)
    while offset < end:
        records = log.read(DEAD_LETTERS, partition, offset, READ_RECORDS)
        if not records:
            return
        yield from records
        offset = records[-1].offset + 1


def _decode(raw: bytes) -> DeadLetter | None:
    """Return the letter in a message, None if it is something else (any producer may write to the topic)."""
    try:
        return _decoder.decode(raw)
    except msgspec.DecodeError:
        return None


def _in_parts(items: Iterable[Item], size_of: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Yield the items in lists of at most APPEND_BYTES, or of one item."""
    part: list[Item] = []
    size = 0
    for item in items:
        if part and size + size_of(item) > APPEND_BYTES:
            yield part
            part, size = [], 0
        part.append(item)
        size += size_of(item)
    if part:
        yield part
