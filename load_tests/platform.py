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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from load_tests.real_engines import as_settings
from marquee.set_up import LATER
from marquee.state_folder import StateFolder
from streams.settings import Settings

START_TIMEOUT_S: Final = 180.0
STOP_TIMEOUT_S: Final = 20.0
DEFAULT_DATA: Final = Path(__file__).resolve().parents[2] / "shared" / "data" / "ml-latest-small"
"""MovieLens beside the project; where it is absent the platform starts on generated data."""


@dataclass(frozen=True)
class Platform:
    """A platform under test. settings: its own, None for one that somebody else has started."""

    url: str
    settings: Settings | None


@contextmanager
def running_platform(
    url: str | None, data: Path | None, environment: Mapping[str, str] | None = None
) -> Iterator[Platform]:
    """Yield a ready platform: the one at `url` if given, else one started for this run. RuntimeError if it fails.

    environment: more of it for the platform that is started, such as the URLs of its engines.
    """
    if url is not None:
        wait_until_ready(url, None)
        yield Platform(url.rstrip("/"), None)
        return
    with tempfile.TemporaryDirectory(prefix="marquee-load-") as state:
        port, more = free_port(), environment or {}
        process = start_platform(Path(state), port, data, more)
        try:
            wait_until_ready(f"http://127.0.0.1:{port}", process)
            settings = Settings.model_validate({"state": state, "port": port, **as_settings(more)})
            wait_until_set_up(settings, process)
            yield Platform(f"http://127.0.0.1:{port}", settings)
        finally:
            stop_platform(process)


def start_platform(
    state: Path, port: int, data: Path | None, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `marquee up` in `state`; its output goes to the terminal."""
    found = data or (DEFAULT_DATA if DEFAULT_DATA.is_dir() else None)
    whole = os.environ | {"MARQUEE_STATE": str(state), "MARQUEE_PORT": str(port)} | dict(environment or {})
    command = [sys.executable, "-m", "marquee", "up", *(["--data", str(found)] if found else [])]
    return subprocess.Popen(command, env=whole, start_new_session=True)


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


def wait_until_set_up(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    """Return once what a new platform does beside serving is done, too: else its work is measured with the load.

    Raises RuntimeError if that does not end in time, or the process ends.
    """
    deadline, folder = time.monotonic() + START_TIMEOUT_S, StateFolder(settings)
    while not set(LATER) <= set(folder.read().steps):
        if process.poll() is not None:
            raise RuntimeError(f"marquee up ended with exit code {process.returncode}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{settings.state} is not set up after {START_TIMEOUT_S:.0f} s")
        time.sleep(0.2)


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
