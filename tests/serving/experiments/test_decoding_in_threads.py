"""Requests are answered by threads: two of them may be the first to read a kind of body."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys, threading, msgspec
from serving.experiments.decoding import decode_json
decode = msgspec.json.decode if sys.argv[1] == "msgspec" else decode_json
sys.setswitchinterval(1e-6)
for number in range(300):
    inner = msgspec.defstruct("Inner", [(f"field_{each}", int | None, None) for each in range(20)])
    kind = msgspec.defstruct("Body", [("inner", inner), ("others", list[inner])])
    barrier = threading.Barrier(4)
    def work():
        barrier.wait()
        read = decode(b'{"inner": {"field_1": 1}, "others": [{"field_2": 2}]}', **{arguments[0]: kind})
        assert read.others[0].field_2 == 2
    arguments = ["type"] if decode is msgspec.json.decode else ["kind"]
    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
"""


def test_threads_that_meet_a_type_at_once_leave_the_process_alive() -> None:
    """msgspec 0.22 alone crashes where they do: an experiment's page, which asks for five things at once, found it."""
    found = subprocess.run([sys.executable, "-c", SCRIPT, "ours"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert not found.stderr
