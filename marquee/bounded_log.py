"""A log file that never grows over a bound: it is renamed when it is full, and only so many are kept."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import BinaryIO, Final

MAX_BYTES: Final = 4 << 20
KEPT: Final = 2
"""Older files kept beside the current one: `name.log.1`, `name.log.2`."""


class BoundedLog:
    """Appends bytes to a file. A full disk loses log lines, never the process that writes them."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        self._file: BinaryIO | None = None

    def write(self, content: bytes) -> None:
        """Append bytes, in a new file when the current one is full."""
        with contextlib.suppress(OSError):
            file = self._file or self._open()
            if file.tell() and file.tell() + len(content) > self._max_bytes:
                file = self._rotate(file)
            file.write(content)
            file.flush()

    def close(self) -> None:
        """Close the file; the next write opens it again."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _open(self) -> BinaryIO:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab")
        return self._file

    def _rotate(self, file: BinaryIO) -> BinaryIO:
        file.close()
        self._file = None
        for number in range(self._kept, 0, -1):
            newer = self._numbered(number - 1)
            if newer.exists():
                newer.replace(self._numbered(number))
        return self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path
