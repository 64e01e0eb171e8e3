"""LMDB environments are opened once a process, and watched for loss."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest

from streams.errors import Corrupt, SlowDown, TryAgain
from streams.event_log.environments import EnvironmentOptions, FilesMissing, Handle, translated
from streams.event_log.liveness import ProcessIdentity, is_dead, this_process

ROOT = Path(__file__).parents[3]
OPTIONS = EnvironmentOptions(1 << 20, (b"a", b"b"), sync=False)


def put(handle: Handle, value: bytes) -> None:
    with handle.use() as opened, opened.env.begin(write=True, db=opened.databases[b"a"]) as transaction:
        transaction.put(b"key", value)


def get(handle: Handle) -> bytes | None:
    with handle.use() as opened, opened.env.begin(db=opened.databases[b"a"]) as transaction:
        value: bytes | None = transaction.get(b"key")
        return value


def test_two_handles_share_one_environment_and_the_last_to_close_closes_it(tmp_path: Path) -> None:
    one, two = Handle(tmp_path / "env", OPTIONS), Handle(tmp_path / "env", OPTIONS)
    one.create()
    put(one, b"1")
    assert get(two) == b"1"
    with one.use() as first, two.use() as second:
        assert first is second
    one.close()
    assert get(two) == b"1"
    two.close()
    lmdb.open(str(tmp_path / "env"), max_dbs=2).close()  # it would refuse if this process still had it open


def test_a_path_and_a_link_to_it_are_one_environment(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "env")
    one, two = Handle(tmp_path / "env", OPTIONS), Handle(tmp_path / "link", OPTIONS)
    one.create()
    put(one, b"1")
    assert get(two) == b"1"
    one.close()
    two.close()


def test_a_closed_handle_opens_again_when_it_is_used(tmp_path: Path) -> None:
    handle = Handle(tmp_path / "env", OPTIONS)
    handle.create()
    put(handle, b"1")
    handle.close()
    assert get(handle) == b"1"
    handle.close()


def test_missing_files_are_not_made_by_using_them(tmp_path: Path) -> None:
    handle = Handle(tmp_path / "env", OPTIONS)
    with pytest.raises(FilesMissing):
        get(handle)
    assert not (tmp_path / "env").exists()


def test_replaced_files_are_noticed_even_in_the_middle_of_a_use(tmp_path: Path) -> None:
    handle, other = Handle(tmp_path / "env", OPTIONS), Handle(tmp_path / "other", OPTIONS)
    handle.create()
    other.create()
    put(handle, b"old")
    put(other, b"new")
    other.close()
    with handle.use() as opened:
        (tmp_path / "env").rename(tmp_path / "old")
        (tmp_path / "other").rename(tmp_path / "env")
        assert get(handle) == b"new"
        with opened.env.begin(db=opened.databases[b"a"]) as transaction:
            assert transaction.get(b"key") == b"old"
    assert get(handle) == b"new"
    handle.close()


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (lmdb.MapFullError("full"), SlowDown),
        (lmdb.CorruptedError("bad page"), Corrupt),
        (lmdb.InvalidError("not LMDB"), Corrupt),
        (lmdb.DiskError("I/O"), TryAgain),
        (lmdb.ReadonlyError("read-only"), TryAgain),
        (PermissionError("no"), TryAgain),
    ],
)
def test_errors_say_what_to_do(error: Exception, kind: type[Exception]) -> None:
    assert isinstance(translated(error, Path("events")), kind)


def test_a_forked_process_is_told_that_it_cannot_use_its_parents_log(tmp_path: Path) -> None:
    program = f"""
import os, sys
from pathlib import Path
from streams.errors import TryAgain
from streams.event_log.embedded import EmbeddedLog
from streams.event_log.protocol import Message
log = EmbeddedLog(Path({str(tmp_path / "log")!r}), sync=False)
log.create_topic("t", 1)
log.append("t", [Message(b"", b"before")])
child = os.fork()
if child == 0:
    try:
        log.append("t", [Message(b"", b"child")])
    except TryAgain:
        os._exit(7)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
log.append("t", [Message(b"", b"parent")])
assert [record.value for record in log.read("t", 0, 0, 10)] == [b"before", b"parent"]
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_this_process_lives() -> None:
    assert not is_dead(this_process())


def test_an_ended_process_is_dead_before_and_after_it_is_waited_for() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    identity = ProcessIdentity(this_process().host, process.pid, "")
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(ProcessIdentity(identity.host, identity.pid, "123"))
    process.wait()
    assert is_dead(identity)


def test_a_process_id_that_came_again_is_not_the_process_of_before() -> None:
    mine = this_process()
    assert is_dead(ProcessIdentity(mine.host, mine.pid, "1"))


def test_a_process_of_another_host_may_live() -> None:
    assert not is_dead(ProcessIdentity("elsewhere", 1, "1"))
