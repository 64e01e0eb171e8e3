"""Ends engines whose owner is gone: `python -m marquee.engines.guard FOLDER PID MOMENT`.

The owner (a test run, say) starts it beside the engines in and below a folder. However the owner ended, kill -9
included, the engines are killed and the folder is removed. It ends by itself when the folder is gone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from marquee.engines.process import Command, Started, is_running, kill, spawn

POLL_S: Final = 0.5


def start_guard(folder: Path, owner: Started) -> None:
    """Start a guard over a folder, for as long as its owner lives."""
    argv = (sys.executable, "-m", "marquee.engines.guard", str(folder), str(owner.pid), owner.moment)
    spawn(Command(argv, Path.cwd()), folder / "guard.out")


def kill_all(folder: Path) -> None:
    """Kill every engine that was started in a folder or below it."""
    for record in sorted(_records(folder)):
        with contextlib.suppress(FileNotFoundError):  # it was stopped meanwhile
            kill(msgspec.json.decode(record.read_bytes(), type=Started))


def main(folder: Path, owner: Started) -> None:
    """Wait for the owner's end."""
    while folder.exists():
        if not is_running(owner):
            kill_all(folder)
            shutil.rmtree(folder, ignore_errors=True)
        time.sleep(POLL_S)


def _records(folder: Path) -> Iterator[Path]:
    """Yield what is kept of started engines. Folders may go meanwhile: a living broker removes those of its topics."""
    for path, _, files in os.walk(folder):  # passes over what is gone; Path.glob does not
        if os.path.basename(path) == "run":
            yield from (Path(path, name) for name in files if name.endswith(".json"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Started(int(sys.argv[2]), sys.argv[3]))
