from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from typer.testing import CliRunner

from marquee.engines.cli import engines_app
from marquee.engines.engine import is_open
from marquee.engines.guard import kill_all, start_guard
from marquee.engines.local import Engines
from marquee.engines.process import Command, Started, is_running, kill, moment_of, send, spawn
from marquee.state_folder import StateFolder
from streams.errors import FixRequest, TryAgain
from streams.settings import Settings
from tests.engines import free_ports, private_engines, require_engines
from tests.marquee.waiting import eventually, is_alive

RUNNER = CliRunner()
SLEEP = (sys.executable, "-S", "-c", "import time; time.sleep(60)")


@pytest.fixture
def engines() -> Iterator[Engines]:
    """Engines of the test's own; they are killed afterwards."""
    require_engines("redis")
    engines = private_engines()
    yield engines
    for name in engines.running():
        engines.thaw(name)
        engines.kill(name)


def client(engines: Engines) -> redis.Redis:
    return redis.Redis(port=engines.ports("redis")[0], socket_timeout=2.0, single_connection_client=True)


def state_of(engines: Engines, name: str = "redis") -> str:
    return next(status.state for status in engines.status() if status.name == name)


def pid_of(engines: Engines) -> int:
    return next(status.pids[0] for status in engines.status() if status.name == "redis")


def test_an_engine_that_runs_is_not_started_again(engines: Engines) -> None:
    engines.start("redis")
    first = pid_of(engines)
    engines.start("redis")
    assert pid_of(engines) == first
    assert state_of(engines) == "running"


def test_data_outlive_kill_9_and_a_clean_stop_but_no_wipe(engines: Engines) -> None:
    engines.start("redis")
    with client(engines) as redis_client:
        redis_client.set("member", "state")
    engines.kill("redis")
    assert state_of(engines) == "dead"
    engines.start("redis")
    with client(engines) as redis_client:
        assert redis_client.get("member") == b"state"
    assert engines.stop("redis")
    assert state_of(engines) == "stopped"
    engines.start("redis")
    with client(engines) as redis_client:
        assert redis_client.get("member") == b"state"
    engines.stop("redis")
    engines.start("redis", wipe=True)
    with client(engines) as redis_client:
        assert redis_client.get("member") is None


def test_a_frozen_engine_is_open_and_silent_until_it_is_thawed(engines: Engines) -> None:
    engines.start("redis")
    engines.freeze("redis")
    assert is_open(engines.ports("redis")[0])
    assert state_of(engines) == "frozen"
    engines.thaw("redis")
    with client(engines) as redis_client:
        assert redis_client.ping()


def test_a_frozen_engine_can_be_stopped(engines: Engines) -> None:
    engines.start("redis")
    engines.freeze("redis")
    assert engines.stop("redis")


def test_a_running_engine_keeps_its_data(engines: Engines) -> None:
    engines.start("redis")
    with pytest.raises(FixRequest, match="stop it"):
        engines.start("redis", wipe=True)
    with pytest.raises(FixRequest, match="stop it"):
        engines.wipe()


def test_status_shows_how_a_dead_engine_ended(engines: Engines) -> None:
    engines.start("redis")
    os.kill(pid_of(engines), signal.SIGTERM)
    eventually(lambda: state_of(engines) == "dead")
    status = next(status for status in engines.status() if status.name == "redis")
    assert any("bye bye" in line for line in status.last_lines)


def test_an_engine_that_ends_as_it_starts_says_why(engines: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marquee.engines.redis.SETTINGS", "port {port}\nno-such-setting {host} {data}\n")
    with pytest.raises(TryAgain, match=r"ended as it started.*no-such-setting"):
        engines.start("redis")


def test_a_port_of_someone_else_is_left_alone(engines: Engines) -> None:
    engines.start("redis")
    other = Engines(engines.folder.with_name(f"{engines.folder.name}-other"), engines.base_port, quick=True)
    with pytest.raises(FixRequest, match="is another's"):
        other.start("redis")
    assert state_of(engines) == "running"


def test_a_folder_keeps_its_ports(engines: Engines) -> None:
    engines.start("redis")
    assert Engines(engines.folder).base_port == engines.base_port
    with pytest.raises(FixRequest, match="ENGINES_PORT"):
        Engines(engines.folder, engines.base_port + 100)


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FixRequest, match="other things"):
        Engines(tmp_path, free_ports()).start("redis")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.txt"]


def test_three_nodes_make_a_cluster_and_find_it_again(engines: Engines) -> None:
    engines.start("redis-cluster")
    engines.kill("redis-cluster")
    engines.start("redis-cluster")
    ports = engines.ports("redis-cluster")[:3]
    with redis.RedisCluster(host="127.0.0.1", port=ports[0]) as cluster:
        cluster.mset_nonatomic({f"member-{number}": number for number in range(30)})
        assert {node.port for node in cluster.get_primaries()} == set(ports)


def test_a_process_of_the_same_id_is_not_mistaken_for_the_one_that_was_started(tmp_path: Path) -> None:
    started = spawn(Command(SLEEP, tmp_path), tmp_path / "out")
    other = Started(started.pid, "another moment")
    kill(other)
    assert not is_running(other)
    assert not send(other, signal.SIGKILL)
    assert is_running(started)
    kill(started)
    assert not is_running(started)


def test_a_recycled_record_is_not_killed_by_stop(engines: Engines) -> None:
    engines.start("redis")
    engines.kill("redis")
    record = engines.folder / "run" / "redis.json"
    record.write_text(json.dumps({"pid": os.getpid(), "moment": "another moment"}))
    assert state_of(engines) == "dead"
    engines.stop("redis")
    engines.kill("redis")
    assert state_of(engines) == "stopped"


def test_a_guard_ends_engines_whose_owner_was_killed(engines: Engines) -> None:
    engines.start("redis")
    with subprocess.Popen(SLEEP) as owner:
        moment = moment_of(owner.pid)
        assert moment is not None
        start_guard(engines.folder, Started(owner.pid, moment))
        pid = pid_of(engines)
        owner.kill()
    eventually(lambda: not is_alive(pid) and not engines.folder.exists())


def test_killing_all_passes_over_folders_that_go_meanwhile(engines: Engines) -> None:
    engines.start("redis")
    pid = pid_of(engines)
    churn = "import os\nwhile True:\n for n in range(300): os.makedirs(f'topics/{n}', exist_ok=True)\n"
    churn += " for n in range(300): os.rmdir(f'topics/{n}')"
    with subprocess.Popen((sys.executable, "-S", "-c", churn), cwd=engines.folder) as broker:
        eventually((engines.folder / "topics").exists)
        for _ in range(30):
            kill_all(engines.folder)
        broker.kill()
    assert not is_alive(pid)


def test_postgres_starts_again_after_kill_9_with_what_was_committed(engines: Engines) -> None:
    require_engines("postgres")
    engines.start("postgres")
    with psycopg.connect(engines.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
    engines.kill("postgres")
    engines.start("postgres")
    with psycopg.connect(engines.url("postgres")) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (1,)
    engines.stop("postgres")


def test_the_command_starts_shows_and_stops_engines(tmp_path: Path) -> None:
    folder, port = tmp_path / "engines", free_ports()
    options = ["--folder", str(folder)]
    require_engines("redis")
    started = RUNNER.invoke(engines_app, ["up", "redis", *options, "--base-port", str(port)])
    try:
        assert started.exit_code == 0, started.output
        assert f"export MARQUEE_HOT_URL=redis://127.0.0.1:{port + 79}/0\n" in started.stdout
        assert (folder / "engines.env").read_text() == f"export MARQUEE_HOT_URL=redis://127.0.0.1:{port + 79}/0\n"
        shown = json.loads(RUNNER.invoke(engines_app, ["status", "--json", *options]).stdout)
        assert {each["name"]: each["state"] for each in shown}["redis"] == "running"
        Engines(folder).kill("redis")
        dead = RUNNER.invoke(engines_app, ["status", *options])
        assert dead.exit_code == 1
        assert "Ready to accept connections" in dead.stdout
        Engines(folder).start("redis")
    finally:
        stopped = RUNNER.invoke(engines_app, ["down", "--wipe", "--yes", *options])
    assert stopped.exit_code == 0, stopped.output
    assert Engines(folder).running() == []
    assert not (folder / "data").exists()


def test_data_are_not_removed_without_a_yes(engines: Engines) -> None:
    engines.start("redis")
    refused = RUNNER.invoke(engines_app, ["down", "--wipe", "--folder", str(engines.folder)], input="n\n")
    assert refused.exit_code == 1
    assert state_of(engines) == "running"


def test_a_state_folder_of_real_engines_is_claimed_and_emptied(tmp_path: Path) -> None:
    engines = Engines(tmp_path / "engines")
    settings = Settings.model_validate(
        {"state": tmp_path / "state"}
        | {name.removeprefix("MARQUEE_").lower(): value for name, value in engines.environment().items()}
    )
    folder = StateFolder(settings)
    folder.claim()
    (folder.path / "warehouse").mkdir()
    assert folder.empty() == []


def test_an_engine_that_there_is_not_is_said_and_not_passed_over(engines: Engines) -> None:
    for act in (engines.start, engines.stop, engines.kill, engines.freeze, engines.thaw):
        with pytest.raises(FixRequest, match="there is no such engine"):
            act("kafak")
