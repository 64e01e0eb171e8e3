"""A child process that fills a warehouse until it is killed: `python -m tests.streams.warehouse_writer <folder>`."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from streams.topics import MEMBER_EVENTS
from streams.warehouse import compact, write_range
from tests.streams.warehouse_records import DAY, records


def write_and_compact(root: Path) -> None:
    """Write ranges of five records, compact after every fourth, and say the last offset written each time."""
    for number in itertools.count():
        write_range(root, MEMBER_EVENTS, 0, 1, records(range(5 * number, 5 * number + 5)))
        if number % 4 == 3:
            compact(root, MEMBER_EVENTS, DAY)
        print(5 * number + 4, flush=True)


if __name__ == "__main__":
    write_and_compact(Path(sys.argv[1]))
