"""Start the workers as processes, and end them whatever the test does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from streams.settings import Settings

WORKERS = Path(__file__).with_name("workers.py")
ROOT = Path(__file__).parents[3]


Worker = subprocess.Popen[str]


def start(settings: Settings, *arguments: str) -> Worker:
    """Start a worker on the log of `settings`; its output is read line by line."""
    environment = {
        **os.environ,
        "MARQUEE_STATE": str(settings.state),
        "MARQUEE_LOG_URL": settings.log_url,
        "MARQUEE_SESSION_TIMEOUT_MS": str(settings.session_timeout_ms),
        "MARQUEE_LOG_MAX_BYTES": str(settings.log_max_bytes),
        "MARQUEE_PARTITIONS": str(settings.partitions),
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, str(WORKERS), *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def kill(process: Worker) -> None:
    """End a process with signal 9, and release its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def read_line(process: Worker) -> str:
    """Return a worker's next line; the test fails if it has ended."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the worker ended with {process.poll()}"
    return line.strip()


def say(process: Worker, line: str) -> None:
    """Send a worker a line."""
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
