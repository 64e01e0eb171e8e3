from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from marquee.lazy import LAZY, load
from marquee.state_folder import MARKER, StateFolder
from streams.settings import Settings


def marquee(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MARQUEE_")}
    command = (sys.executable, "-m", "marquee", *arguments)
    return subprocess.run(
        command, input=given, capture_output=True, text=True, env=environment, timeout=60, check=False
    )


def marked(path: Path) -> Path:
    StateFolder(Settings(state=path)).claim()
    return path


def test_help_lists_every_command_and_imports_none_of_them() -> None:
    code = "import sys; sys.argv = ['marquee', '--help']; from marquee.cli import main\n"
    code += "heavy = ('numpy', 'sqlalchemy', 'pydantic', 'rich', 'lmdb')\n"
    code += "try: main()\nfinally: print([name for name in heavy if name in sys.modules])"
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.endswith("[]\n")
    for command in ("up", "reset", "status", *LAZY):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("name", LAZY)
def test_every_lazy_command_is_there(name: str) -> None:
    assert load(name, LAZY[name]).get_short_help_str()


def test_an_error_is_one_line_with_its_fix_and_exit_code_1(tmp_path: Path) -> None:
    done = marquee("--state", str(tmp_path / "state"), "replay", "movielens", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"error: {tmp_path}/movies.csv: the file is not there; name the folder that holds it\n"


def test_an_unknown_command_is_a_usage_error() -> None:
    done = marquee("replya")
    assert done.returncode == 2
    assert "No such command 'replya'" in done.stderr


def test_reset_asks_first_and_takes_no_for_an_answer(tmp_path: Path) -> None:
    state = marked(tmp_path / "state")
    (state / "warehouse").mkdir()
    assert marquee("--state", str(state), "reset", given="n\n").returncode == 1
    assert (state / "warehouse").is_dir()
    assert marquee("--state", str(state), "reset", given="y\n").returncode == 0
    assert list(state.iterdir()) == []


def test_reset_with_yes_does_not_ask_and_names_what_it_left(tmp_path: Path) -> None:
    state = marked(tmp_path / "state")
    (state / "notes.txt").touch()
    done = marquee("--state", str(state), "reset", "--yes")
    assert done.returncode == 0
    assert done.stdout == f"emptied; {state} still holds notes.txt\n"


def test_reset_leaves_any_other_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    done = marquee("--state", str(tmp_path), "reset", "--yes")
    assert done.returncode == 1
    assert f"it is not a Marquee state folder (it has no {MARKER})" in done.stderr
    assert (tmp_path / "log").is_dir()


def test_reset_refuses_while_the_platform_runs(tmp_path: Path) -> None:
    state = marked(tmp_path / "state")
    with StateFolder(Settings(state=state)).lock():
        done = marquee("--state", str(state), "reset", "--yes")
    assert done.returncode == 1
    assert "Marquee runs on" in done.stderr
    assert (state / MARKER).exists()


def test_up_refuses_a_taken_port_and_names_the_way_out(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = marquee("--state", str(tmp_path / "state"), "up", "--port", str(port))
    assert done.returncode == 1
    assert (
        done.stderr
        == f"error: port: 127.0.0.1:{port} cannot be used (Address already in use); choose another with PORT=n\n"
    )


def test_up_refuses_data_that_are_none(tmp_path: Path) -> None:
    done = marquee("--state", str(tmp_path / "state"), "up", "--port", str(free_port()), "--data", str(tmp_path))
    assert done.returncode == 1
    assert "it holds neither MovieLens' ratings.csv nor KuaiRand's log_*.csv" in done.stderr
    assert not (tmp_path / "state").exists()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_status_shows_lag_counts_and_the_champion_as_a_table_or_json(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    options = ("--members", "5", "--events", "200", "--titles", "50")
    assert marquee("--state", state, "replay", "generated", *options).returncode == 0
    shown = json.loads(marquee("--state", state, "status", "--json").stdout)
    assert (shown["running"], shown["titles"], shown["champion"], shown["away"]) == (False, 50, None, {})
    assert (shown["lag"]["features"], shown["records"]["member-events"]) == (200, 200)
    assert "200 records" in marquee("--state", state, "status").stdout


def test_status_of_nothing_says_so(tmp_path: Path) -> None:
    done = marquee("--state", str(tmp_path / "none"), "status")
    assert done.returncode == 1
    assert "there is no such state folder" in done.stderr


def test_simulating_without_a_platform_says_how_to_start_one(tmp_path: Path) -> None:
    done = marquee("--state", str(tmp_path), "simulate", "--url", f"http://127.0.0.1:{free_port()}", "--pages", "1")
    assert done.returncode == 1
    assert "start it with `marquee up`" in done.stderr


def test_db_shows_the_revision_and_upgrades(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    before = marquee("--state", state, "db", "current")
    assert before.returncode == 1
    assert "is at revision none; this version needs" in before.stdout
    assert "upgraded from none" in marquee("--state", state, "db", "upgrade").stdout
    assert "was up to date" in marquee("--state", state, "db", "upgrade").stdout
    after = marquee("--state", state, "db", "current")
    assert after.returncode == 0
    assert "up to date" in after.stdout
