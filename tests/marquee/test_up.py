"""The whole platform, started as a user starts it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from marquee.state_folder import StateFolder
from serving.experiments.key_files import read_key
from streams.settings import Settings
from tests.marquee.small_movielens import write_movielens
from tests.marquee.test_cli import free_port
from tests.marquee.waiting import eventually, is_alive

START_S = 180.0
"""A bound for a busy machine; a free one takes a tenth of it."""


class Platform:
    """A `marquee up` on a free port."""

    def __init__(self, state: Path, *options: str) -> None:
        self.port = free_port()
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MARQUEE_")}
        command = (sys.executable, "-m", "marquee", "--state", str(state), "up", "--port", str(self.port), *options)
        self.output = state.with_suffix(".out")
        with self.output.open("w") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)

    def said(self) -> str:
        return self.output.read_text()

    def wait_until_said(self, words: str) -> None:
        deadline_s = time.monotonic() + START_S
        while words not in self.said():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline_s, self.said()
            time.sleep(0.1)

    def get(self, path: str, key: str = "") -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {key}"} if key else {})
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
            return answer
        finally:
            connection.close()

    def children(self) -> dict[str, int]:
        """Return the pids of the platform's processes by their last argument."""
        found: dict[str, int] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                arguments = (entry / "cmdline").read_text().split("\0")
            except OSError:
                continue
            if parent == self.process.pid and len(arguments) > 2:  # one that has ended has none
                found[arguments[-2]] = int(entry.name)
        return found


@contextmanager
def platform(state: Path, *options: str) -> Iterator[Platform]:
    running = Platform(state, *options)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.kill()
        running.process.wait()


@pytest.mark.slow
def test_a_platform_sets_itself_up_survives_kills_and_starts_again(tmp_path: Path) -> None:
    data = write_movielens(tmp_path / "data")
    state = tmp_path / "state"
    with platform(state, "--data", str(data)) as up:
        up.wait_until_said(" titles from ")
        up.process.kill()
    with platform(state) as up:
        up.wait_until_said("Marquee serves at")
        assert "not all is well" not in up.said()
        home = up.get("/homepage?member_id=7")
        assert (home["served"]["step"], bool(home["rows"])) == ("fresh", True)
        assert up.get("/v1/keys/mine", read_key(state / "keys" / "approver.key"))["role"] == "approver"
        up.wait_until_said(" pages computed")
        assert set(up.children()) == {"features", "sink", "serve", "experiments", "watch"}
        _kill_and_see_it_come_back(up, "serve")
        _kill_and_see_it_come_back(up, "features")
        eventually(lambda: _step(up) == "fresh")
        children = up.children()
        up.process.send_signal(signal.SIGTERM)
        assert up.process.wait(30) == 0
        assert not any(is_alive(pid) for pid in children.values())
        assert "stopped; everything is kept in" in up.said()
    assert set(StateFolder(Settings(state=state)).read().steps) == {
        "history",
        "warehouse",
        "model",
        "features",
        "pages",
    }
    with platform(state) as up:
        up.wait_until_said("Marquee serves at")
        assert "Setting up" not in up.said()
        assert up.get("/homepage?member_id=7")["served"]["step"] == "fresh"
        children = up.children()
        up.process.kill()
        eventually(lambda: not any(is_alive(pid) for pid in children.values()))


def _kill_and_see_it_come_back(up: Platform, name: str) -> None:
    first = up.children()[name]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: up.children().get(name) not in (None, first))
    assert f"{name} was ended by SIGKILL; starting it again" in up.said()


def _step(up: Platform) -> str | None:
    try:
        step: str = up.get("/homepage?member_id=8")["served"]["step"]
    except OSError:
        return None
    return step
