"""`marquee rebuild` as a process, killed with -9 at random moments while agents work: run again, it comes to an end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.settings import Settings
from streams.stores.generations import GROUPS, read_generations
from tests.streams.rebuild.live import Producer, caught_up, publish, wait_for, workers
from tests.streams.rebuild.test_rebuild import Engines, assert_as_replayed, fill, is_serving, open_again, states

ROOT = Path(__file__).parents[3]
KILLS = 4
START_S = 1.2
"""About what the command takes to start."""


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    settings = Settings(state=tmp_path, log_sync=False, session_timeout_ms=4000, partitions=3)
    publish(settings)
    with open_again(settings) as engines:
        yield engines


def start(settings: Settings, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "MARQUEE_STATE": str(settings.state),
        "MARQUEE_LOG_SYNC": "false",
        "MARQUEE_PARTITIONS": "3",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "marquee", "rebuild", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_a_rebuild_killed_at_random_moments_goes_on_and_ends_as_the_replay_says(engines: Engines) -> None:
    fill(engines.log, 0, 12_000)
    rng = random.Random(os.urandom(4))
    with workers(engines.settings, 1, sink=False):
        wait_for(lambda: caught_up(engines.log, ["features", "shown"]))
        producer = Producer(engines.log, 12_000, pause_s=0.02)
        for _ in range(KILLS):
            process = start(engines.settings)
            time.sleep(START_S + rng.uniform(0.0, 2.0))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            found = read_generations(engines.durable)
            assert states(engines, found.serving("features"))["hot"]["member"], "whatever serves is there"
        process = start(engines.settings)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
        producer.stop()
        wait_for(lambda: caught_up(engines.log, ["features", "shown"]))
    number = read_generations(engines.durable).serving("features")
    assert number >= 2
    assert all(read_generations(engines.durable).serving(group) == number for group in GROUPS)
    assert is_serving(engines, number)
    assert_as_replayed(engines, number)
