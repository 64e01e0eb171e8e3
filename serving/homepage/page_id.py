"""Page ids: unique, ordered by time, cheap to make, and telling where in the log the page's impression is.

32 lower-case hex digits: served_at_ms (12), the process (10, random), a counter (6), and the partition of the
`impressions` topic (4) that the page's impression goes to. So an impression is found from its page id alone, without an
index that would grow with every page served.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from typing import NamedTuple

from streams.errors import FixRequest

LENGTH = 32
_COUNTER_SPAN = 1 << 24
"""16.8 million pages within one millisecond before an id could repeat."""
_HEX = frozenset("0123456789abcdef")


class PageIdParts(NamedTuple):
    """What a page id says."""

    served_at_ms: int
    process: str
    partition: int


class PageIds:
    """Makes the page ids of one process, in ASCII. process: 5 random bytes, so that no two processes make the same.

    One thread's. What the ids of one millisecond begin with is made once.
    """

    def __init__(self, process: bytes | None = None) -> None:
        self._process = (process or os.urandom(5)).hex().encode()
        self._count: Callable[[], int] = itertools.count().__next__
        self._start_ms = -1
        self._start = b""

    def next(self, now_ms: int, partition: int) -> bytes:
        """Return a new page id for a page served at `now_ms`."""
        if now_ms != self._start_ms:
            self._start_ms, self._start = now_ms, b"%012x%b" % (now_ms, self._process)
        return b"%b%06x%04x" % (self._start, self._count() % _COUNTER_SPAN, partition)


def parse_page_id(page_id: str) -> PageIdParts:
    """Return what a page id says. Raises FixRequest if it is none.

    >>> parse_page_id(PageIds(b"hello").next(1_700_000_000_000, 3).decode())
    PageIdParts(served_at_ms=1700000000000, process='68656c6c6f', partition=3)
    """
    if len(page_id) != LENGTH or not _HEX.issuperset(page_id):
        raise FixRequest("page_id", f"a page id has {LENGTH} lower-case hex digits")
    return PageIdParts(int(page_id[:12], 16), page_id[12:22], int(page_id[28:], 16))
