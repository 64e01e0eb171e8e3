from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from marquee.state_folder import MARKER, Setup, StateFolder
from streams.errors import Corrupt, FixRequest, TryAgain
from streams.event_log.open import open_event_log
from streams.settings import Settings
from streams.stores.open import open_durable, open_hot
from streams.stores.protocol import StateEntry
from streams.stores.sql import open_sql


def folder(path: Path) -> StateFolder:
    return StateFolder(Settings(state=path))


def test_a_new_folder_is_made_and_marked(tmp_path: Path) -> None:
    ours = folder(tmp_path / "a" / "b")
    ours.claim()
    assert ours.is_marked()
    assert ours.read() == Setup()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(FixRequest, match=r"it holds other things \(thesis\.tex\)"):
        folder(tmp_path).claim()
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_other_commands_have_written_to_is_claimed(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path)
    open_event_log(settings).close()
    folder(tmp_path).claim()
    assert folder(tmp_path).is_marked()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FixRequest, match="it is a file"):
        folder(tmp_path / "file").claim()
    with pytest.raises(FixRequest, match="cannot be created"):
        folder(tmp_path / "file" / "below").claim()


def test_finished_steps_are_kept(tmp_path: Path) -> None:
    ours = folder(tmp_path)
    ours.claim()
    ours.write(Setup(source="generated"))
    ours.finish("history", "60,000 events")
    ours.finish("model", "done")
    folder(tmp_path).claim()
    assert folder(tmp_path).read() == Setup("generated", {"history": "60,000 events", "model": "done"})


def test_a_torn_record_says_what_to_do(tmp_path: Path) -> None:
    ours = folder(tmp_path)
    ours.claim()
    (tmp_path / MARKER).write_bytes(b'{"source": ')
    with pytest.raises(Corrupt, match="marquee reset"):
        ours.read()


def test_one_supervisor_a_folder(tmp_path: Path) -> None:
    ours = folder(tmp_path)
    ours.claim()
    with ours.lock():
        assert folder(tmp_path).is_locked()
        with pytest.raises(TryAgain, match=rf"process {os.getpid()}\)"), folder(tmp_path).lock():
            pass
    assert not ours.is_locked()


def test_the_lock_of_a_killed_supervisor_is_free(tmp_path: Path) -> None:
    folder(tmp_path).claim()
    code = (
        "import sys, time; from pathlib import Path; from marquee.state_folder import StateFolder\n"
        "from streams.settings import Settings\n"
        "with StateFolder(Settings(state=Path(sys.argv[1]))).lock(): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen((sys.executable, "-c", code, str(tmp_path)), stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert folder(tmp_path).is_locked()
        holder.send_signal(signal.SIGKILL)
    with folder(tmp_path).lock():
        pass


def test_emptying_removes_all_that_the_engines_keep_and_nothing_else(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "state")
    ours = StateFolder(settings)
    ours.claim()
    open_event_log(settings).close()
    hot, durable, engine = open_hot(settings), open_durable(settings), open_sql(settings)
    for store in (hot, durable):
        store.put("member", [StateEntry(b"m", (1).to_bytes(8, "big") + b"x")])
        store.close()
    engine.connect().close()
    engine.dispose()
    (settings.state / "notes.txt").write_text("mine")
    with ours.lock():
        assert ours.empty() == ["notes.txt"]
    assert [entry.name for entry in settings.state.iterdir()] == ["notes.txt"]


def test_emptying_does_not_follow_links(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "gold").touch()
    ours = folder(tmp_path / "state")
    ours.claim()
    (tmp_path / "state" / "log").symlink_to(treasure)
    ours.empty()
    assert (treasure / "gold").exists()
    assert list((tmp_path / "state").iterdir()) == []


def test_a_folder_without_a_marker_is_never_emptied(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    with pytest.raises(FixRequest, match="not a Marquee state folder"):
        folder(tmp_path).empty()
    assert (tmp_path / "log").is_dir()


def test_engines_outside_the_folder_are_left_alone(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    elsewhere.touch()
    ours = StateFolder(Settings(state=tmp_path / "state", sql_url=f"sqlite:{elsewhere}"))
    ours.claim()
    ours.empty()
    assert elsewhere.exists()
