"""A command that runs once, as a child process on a lifeline, its output in a bounded log."""

from __future__ import annotations

import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from marquee.bounded_log import BoundedLog
from marquee.lifeline import SUPERVISED
from marquee.supervisor import LAST_LINES, MAX_LINE_BYTES, STOP_S, ChildSpec
from streams.errors import TryAgain


def run_task(spec: ChildSpec, logs: Path, on_line: Callable[[str], None]) -> None:
    """Run a command to its end, each line it writes passed to `on_line`. Raises TryAgain when it fails.

    When this is interrupted, the command is stopped first.
    """
    path = logs / f"{spec.name}.log"
    log = BoundedLog(path)
    last: deque[str] = deque(maxlen=LAST_LINES)
    process = subprocess.Popen(  # noqa: S603 - our own commands
        spec.argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **spec.environment, SUPERVISED: "1"},
        start_new_session=True,
    )
    try:
        for line in _lines(process.stdout):
            log.write(line)
            if text := line.decode(errors="replace").strip():
                last.append(text)
                on_line(text)
        code = process.wait()
    finally:
        _end(process)
        log.close()
    if code != 0:
        words = last[-1] if last else "nothing"
        raise TryAgain(f"{spec.name} failed (exit code {code}). Its last words: {words} More in {path}")


def _lines(output: IO[bytes] | None) -> Iterator[bytes]:
    if output is None:
        return
    with output:
        while line := output.readline(MAX_LINE_BYTES):
            yield line


def _end(process: subprocess.Popen[bytes]) -> None:
    """Make sure that a process has ended: its lifeline closed, then SIGTERM, then SIGKILL."""
    if process.stdin is not None:
        process.stdin.close()
    if process.poll() is None:
        process.terminate()
        killer = threading.Timer(STOP_S, process.kill)
        killer.start()
        process.wait()
        killer.cancel()
