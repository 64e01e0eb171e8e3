from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from marquee.restart_policy import RestartPolicy
from marquee.supervisor import ChildSpec, Supervisor
from marquee.task import run_task
from streams.errors import TryAgain
from tests.marquee.waiting import eventually, is_alive

QUICK = RestartPolicy(first_s=0.01, max_s=0.05, worrying=3)
SLEEPER = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def python(name: str, code: str, *arguments: str) -> ChildSpec:
    return ChildSpec(name, (sys.executable, "-S", "-c", code, *arguments))


class Running:
    """A supervisor, what it said, and where its logs are."""

    def __init__(self, logs: Path, stop_s: float = 5.0) -> None:
        self.said: list[str] = []
        self.logs = logs
        self.supervisor = Supervisor(logs, self.said.append, QUICK, stop_s)

    def log(self, name: str) -> str:
        path = self.logs / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def start(self, spec: ChildSpec) -> int:
        """Start a child; return its pid once it is up."""
        self.supervisor.start(spec)
        eventually(lambda: "up" in self.log(spec.name))
        pid = self.supervisor.pid(spec.name)
        assert pid is not None
        return pid


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    running.supervisor.stop()


def test_a_child_killed_with_9_is_started_again_and_it_is_said(running: Running) -> None:
    first = running.start(python("serve", SLEEPER))
    os.kill(first, signal.SIGKILL)
    eventually(lambda: running.supervisor.pid("serve") not in (None, first))
    assert running.said == ["serve was ended by SIGKILL; starting it again in 0.01 s"]


def test_a_child_that_keeps_dying_is_named_with_its_last_words(running: Running) -> None:
    running.supervisor.start(python("sink", "print('disk is full'); raise SystemExit(3)"))
    eventually(lambda: any("keeps dying" in sentence for sentence in running.said))
    sentence = next(sentence for sentence in running.said if "keeps dying" in sentence)
    assert "ended with exit code 3" in sentence
    assert "Its last words: disk is full" in sentence
    assert str(running.logs / "sink.log") in sentence


def test_a_command_that_does_not_exist_is_said_and_tried_again(running: Running) -> None:
    running.supervisor.start(ChildSpec("serve", ("/nowhere/at-all",)))
    eventually(lambda: len(running.said) >= 2)
    assert "serve could not be started" in running.said[0]


def test_children_are_stopped_in_the_reverse_of_their_order(running: Running, tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    open(sys.argv[1], 'a').write(sys.argv[2] + ' ')\n"
        "    raise SystemExit\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('up', flush=True)\n"
        "time.sleep(60)"
    )
    pids = [running.start(python(name, code, str(order), name)) for name in ("features", "sink", "serve")]
    running.supervisor.stop()
    assert order.read_text().split() == ["serve", "sink", "features"]
    assert not any(is_alive(pid) for pid in pids)
    assert running.said == []


def test_a_child_that_does_not_stop_is_killed_after_a_bound(tmp_path: Path) -> None:
    running = Running(tmp_path, stop_s=0.1)
    pid = running.start(python("serve", STUBBORN))
    running.supervisor.stop()
    assert not is_alive(pid)
    assert running.said == ["serve did not stop within 0.1 s; killing it"]


def test_stopping_does_not_wait_for_a_restart(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(tmp_path, said.append, RestartPolicy(first_s=3600.0, max_s=3600.0))
    supervisor.start(python("sink", "raise SystemExit(1)"))
    eventually(lambda: bool(said))
    supervisor.stop()
    assert supervisor.pid("sink") is None


def test_a_child_of_the_same_name_takes_the_place_of_the_one_before(running: Running) -> None:
    first = running.start(python("sink", SLEEPER))
    running.supervisor.start(python("sink", SLEEPER.replace("up", "second")))
    eventually(lambda: "second" in running.log("sink"))
    assert not is_alive(first)


def test_ctrl_c_in_the_terminal_reaches_the_supervisor_only(running: Running) -> None:
    pid = running.start(python("serve", SLEEPER))
    assert os.getpgid(pid) != os.getpgid(0)


SUPERVISED = """
import sys, time
from pathlib import Path
from marquee.supervisor import ChildSpec, Supervisor
child = "from marquee.lifeline import watch_if_supervised as w; w(); import time; print('up', flush=1); time.sleep(60)"
supervisor = Supervisor(Path(sys.argv[1]), print)
supervisor.start(ChildSpec("child", (sys.executable, "-c", child)))
while (pid := supervisor.pid("child")) is None or "up" not in (Path(sys.argv[1]) / "child.log").read_text():
    time.sleep(0.02)
print(pid, flush=True)
time.sleep(60)
"""


def test_children_end_when_their_supervisor_is_killed_with_9(tmp_path: Path) -> None:
    (tmp_path / "child.log").touch()
    command = (sys.executable, "-c", SUPERVISED, str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        assert is_alive(child)
        supervisor.kill()
    eventually(lambda: not is_alive(child))


def test_a_task_passes_on_its_lines_and_keeps_them(tmp_path: Path) -> None:
    lines: list[str] = []
    run_task(python("train", "print('one'); print('two')"), tmp_path, lines.append)
    assert lines == ["one", "two"]
    assert (tmp_path / "train.log").read_text() == "one\ntwo\n"


def test_a_task_that_fails_says_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(TryAgain, match=r"train failed \(exit code 4\)\. Its last words: no data"):
        run_task(python("train", "print('no data'); raise SystemExit(4)"), tmp_path, lambda _: None)


def test_a_task_is_stopped_when_its_caller_is_interrupted(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_task(
            python("train", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"), tmp_path, interrupt
        )
    assert not is_alive(pids[0])
