"""A platform to test: the one at a URL, or one of our own, started in a temporary folder and stopped afterwards."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

START_TIMEOUT_S: Final = 180.0
STOP_TIMEOUT_S: Final = 20.0
DEFAULT_DATA: Final = Path(__file__).resolve().parents[2] / "shared" / "data" / "ml-latest-small"
"""MovieLens beside the project; where it is absent the platform starts on generated data."""


@contextmanager
def running_platform(url: str | None, data: Path | None) -> Iterator[str]:
    """Yield the URL of a ready platform: `url` if given, else one started for this run. RuntimeError if it fails."""
    if url is not None:
        wait_until_ready(url, None)
        yield url.rstrip("/")
        return
    with tempfile.TemporaryDirectory(prefix="marquee-load-") as state:
        port = free_port()
        process = start_platform(Path(state), port, data)
        try:
            wait_until_ready(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            stop_platform(process)


def start_platform(state: Path, port: int, data: Path | None) -> subprocess.Popen[bytes]:
    """Start `marquee up` in `state`; its output goes to the terminal."""
    found = data or (DEFAULT_DATA if DEFAULT_DATA.is_dir() else None)
    environment = os.environ | {"MARQUEE_STATE": str(state), "MARQUEE_PORT": str(port)}
    command = [sys.executable, "-m", "marquee", "up", *(["--data", str(found)] if found else [])]
    return subprocess.Popen(command, env=environment, start_new_session=True)


def stop_platform(process: subprocess.Popen[bytes]) -> None:
    """Stop it as Ctrl-C does; kill what is left of it after a while."""
    process.send_signal(signal.SIGINT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_TIMEOUT_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until_ready(url: str, process: subprocess.Popen[bytes] | None) -> None:
    """Return once /readyz answers 200. Raises RuntimeError if it does not in time or the process ends."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"marquee up ended with exit code {process.returncode}")
        with (
            suppress(urllib.error.URLError, ConnectionError, TimeoutError),
            urllib.request.urlopen(f"{url}/readyz", timeout=2),
        ):
            return
        time.sleep(0.2)
    raise RuntimeError(f"{url} is not ready after {START_TIMEOUT_S:.0f} s")


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
