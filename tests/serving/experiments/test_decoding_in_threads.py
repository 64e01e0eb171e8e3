"""Requests are answered by threads: two of them may be the first to read a kind of body or row."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys, threading
from serving.experiments.decoding import decode_json
from serving.experiments.looks import Look, _decode
from serving.experiments.report import Report
sys.setswitchinterval(1e-6)
look = '{"at_ms": 1, "members": 2, "verdict": "ship", "effects": [{"metric": "m", "variant": "v", "as_of_ms": 1, '
look += '"outcome": "better", "effect": {"method": "fixed", "alpha": 0.05, "n_control": 1, "n_treatment": 2}}]}'
barrier, read = threading.Barrier(8), []
def work(number):
    barrier.wait()
    read.append(_decode(look) if number % 2 else decode_json(look.encode(), Look))
threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(read) == 8 and len(set(map(repr, read))) == 1
"""


@pytest.mark.parametrize("attempt", range(3))
def test_threads_that_meet_a_type_at_once_leave_the_process_alive(attempt: int) -> None:
    """msgspec 0.22 crashes where they do, one time in eight here: a page that asked for five things at once found it."""
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, (attempt, found.returncode, found.stderr)
