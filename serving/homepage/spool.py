"""A spool: messages that the log could not take, kept in a file until it can.

A message is: key length and value length (4 bytes each, big-endian), CRC-32 of both (4 bytes), key, value. A second
file holds how far the first has been drained. Appends are not synced: they survive the death of the process, and an
impression is not worth a wait for a disk that may be what is ill. A torn or damaged tail is cut off when found.

One thread's. A process killed between an append to the log and `drained` appends that one batch again.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Final

from streams.errors import SlowDown, TryAgain
from streams.event_log.protocol import Message

_HEADER: Final = struct.Struct(">III")
MAX_MESSAGE_BYTES: Final = 1 << 20
"""Twice the largest impression; a header that says more is damage."""

DEFAULT_MAX_BYTES: Final = 256 << 20
"""Some 10,000 whole pages or a million repeats; the outage of a log should have been noticed by then."""


class Spool:
    """Messages in a file, first in, first out, of at most `max_bytes`. Raises TryAgain when the file cannot be used."""

    def __init__(self, path: Path, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        self._path = path
        self._cursor_path = path.with_name(path.name + ".drained")
        self._max_bytes = max_bytes
        self._start, self._end = self._recover()

    @property
    def waiting_bytes(self) -> int:
        """Bytes not drained yet."""
        return self._end - self._start

    def append(self, messages: list[Message]) -> None:
        """Add messages, all or none. Raises SlowDown when they do not fit."""
        packed = b"".join(_pack(message) for message in messages)
        if self._end + len(packed) > self._max_bytes:
            raise SlowDown(f"the spool holds {self._end} of {self._max_bytes} bytes")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("r+b" if self._path.exists() else "w+b") as file:
                file.seek(self._end)
                file.write(packed)
                file.truncate()
        except OSError as error:
            raise TryAgain(f"the spool cannot be written: {error}") from error
        self._end += len(packed)

    def peek(self, max_messages: int) -> tuple[list[Message], int]:
        """Return the oldest messages not drained, and where they end: what to call `drained` with."""
        if self._start >= self._end:
            return [], self._start
        try:
            with self._path.open("rb") as file:
                file.seek(self._start)
                return self._read(file, max_messages)
        except OSError as error:
            raise TryAgain(f"the spool cannot be read: {error}") from error

    def drained(self, end: int) -> None:
        """Forget the messages before `end`; the file goes when none is left."""
        self._start = end
        try:
            if self._start >= self._end:
                self._path.unlink(missing_ok=True)
                self._cursor_path.unlink(missing_ok=True)
                self._start = self._end = 0
            else:
                temporary = self._cursor_path.with_name(self._cursor_path.name + ".new")
                temporary.write_text(str(end))
                temporary.replace(self._cursor_path)
        except OSError as error:
            raise TryAgain(f"the spool cannot be written: {error}") from error

    def _read(self, file: BinaryIO, max_messages: int) -> tuple[list[Message], int]:
        messages: list[Message] = []
        end = self._start
        while len(messages) < max_messages and end < self._end:
            message = _unpack(file)
            if message is None:
                self._end = end
                break
            messages.append(message)
            end += _HEADER.size + len(message.key) + len(message.value)
        return messages, end

    def _recover(self) -> tuple[int, int]:
        """Return where the waiting messages of an earlier process start and end."""
        try:
            end = os.stat(self._path).st_size
        except OSError:
            with contextlib.suppress(OSError):  # a folder that cannot be used now is reported by the first append
                self._cursor_path.unlink(missing_ok=True)
            return 0, 0
        try:
            start = int(self._cursor_path.read_text())
        except (OSError, ValueError):
            start = 0
        return min(start, end), end


def _pack(message: Message) -> bytes:
    key, value = message
    return _HEADER.pack(len(key), len(value), zlib.crc32(value, zlib.crc32(key))) + key + value


def _unpack(file: BinaryIO) -> Message | None:
    """Return the next message, None if it is torn or damaged."""
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    key_bytes, value_bytes, crc = _HEADER.unpack(header)
    if key_bytes + value_bytes > MAX_MESSAGE_BYTES:
        return None
    key, value = file.read(key_bytes), file.read(value_bytes)
    return Message(key, value) if zlib.crc32(value, zlib.crc32(key)) == crc and len(value) == value_bytes else None
