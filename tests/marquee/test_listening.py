from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from marquee import commands
from marquee.listening import listen
from marquee.restart_policy import RestartPolicy
from marquee.supervisor import ChildSpec, Supervisor
from serving.cli import listening_socket
from streams.errors import FixRequest
from streams.settings import Settings
from tests.marquee.waiting import eventually

ANSWERER = """
import os, socket, sys
listener = socket.socket(fileno=int(sys.argv[1]))
print("up", flush=True)
while True:
    connection, _ = listener.accept()
    connection.recv(100)
    connection.sendall(b"%d" % os.getpid())
    connection.close()
"""


def test_an_address_that_is_used_or_not_ours_is_refused_with_the_way_out() -> None:
    with listen("127.0.0.1", 0) as listener:
        host, port = listener.getsockname()
        with pytest.raises(FixRequest, match="PORT=n"):
            listen(host, port)
    with listen(host, port):
        pass
    with pytest.raises(FixRequest, match="PORT=n"):
        listen("192.0.2.1", 8000)


def test_connections_made_while_a_child_is_away_are_answered_by_the_next(tmp_path: Path) -> None:
    with listen("127.0.0.1", 0) as listener:
        fd, address = listener.fileno(), listener.getsockname()
        supervisor = Supervisor(tmp_path, lambda _: None, RestartPolicy(first_s=0.2))
        spec = ChildSpec("answerer", (sys.executable, "-S", "-c", ANSWERER, str(fd)), descriptors=(fd,))
        supervisor.start(spec)
        try:
            eventually(lambda: (tmp_path / "answerer.log").exists() and supervisor.pid("answerer") is not None)
            first = supervisor.pid("answerer")
            assert first is not None
            os.kill(first, signal.SIGKILL)
            eventually(lambda: supervisor.pid("answerer") is None)
            with socket.create_connection(address, 5) as connection:
                connection.sendall(b"who?")
                assert int(connection.recv(100)) == supervisor.pid("answerer") != first
        finally:
            supervisor.stop()


def test_serving_that_is_killed_again_and_again_refuses_nobody(tmp_path: Path) -> None:
    kills, stop, outcomes = 2, threading.Event(), Counter[str]()
    with listen("127.0.0.1", 0) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/homepage?member_id=ann"
        supervisor = Supervisor(tmp_path / "logs", lambda _: None, RestartPolicy(first_s=0.05, max_s=0.05))
        supervisor.start(commands.serving(Settings(state=tmp_path, log_sync=False), listener))

        def visit() -> None:
            while not stop.is_set():
                try:
                    with urllib.request.urlopen(url, timeout=20) as answer:
                        outcomes[str(answer.status)] += 1
                except ConnectionRefusedError:
                    outcomes["refused"] += 1
                except OSError as error:  # it was in work in the process that was killed
                    outcomes["refused" if "refused" in str(error) else "cut"] += 1
                time.sleep(0.005)

        visitor = threading.Thread(target=visit)
        visitor.start()
        try:
            for number in range(kills + 1):
                outcomes["200"] = 0
                eventually(lambda: outcomes["200"] > 5)
                pid = supervisor.pid("serve")
                assert pid is not None
                if number < kills:
                    os.kill(pid, signal.SIGKILL)
        finally:
            stop.set()
            visitor.join()
            supervisor.stop()
    assert outcomes["refused"] == 0
    assert set(outcomes) <= {"200", "cut", "refused"}
    assert outcomes["cut"] <= kills, "only what was in work when a process was killed may be lost"


def test_only_a_socket_that_listens_can_be_served_on() -> None:
    with socket.socket() as idle, pytest.raises(FixRequest, match="does not listen"):
        listening_socket(idle.fileno())
    with pytest.raises(FixRequest, match="no socket"):
        listening_socket(10_000)
