from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.models.loader import load_model
from streams.settings import Settings
from streams.stores.blobs import BlobStore
from streams.stores.sql import open_sql
from tests.training_bridge.records import made_events
from tests.training_bridge.warehouse import publish, store
from training_bridge import registry
from training_bridge.flows.environment import flow_user, metaflow_environment
from training_bridge.flows.launch import StepEvent, parse_line, run_flow
from training_bridge.model_report import lineage_lines, list_lines

CONFIG = '{"history_length": 16, "table_width": 20, "samples": 100}'
TIMEOUT_S = 120


def marquee(state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user without any set-up would, in an empty folder."""
    elsewhere = state.parent / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    environment = {**os.environ, "MARQUEE_STATE": str(state), "HOME": str(elsewhere)}
    command = [sys.executable, "-m", "marquee", *arguments]
    return subprocess.run(
        command, cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


@pytest.mark.slow
def test_marquee_train_runs_the_flow_and_registers_a_champion(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "state")
    publish(settings)
    store(settings, made_events(600))
    trained = marquee(settings.state, "train", "--config", CONFIG, "--predictions", "50")
    assert (trained.returncode, trained.stderr) == (0, "")
    steps = [line.split()[0] for line in trained.stdout.splitlines()]
    assert sorted(steps) == ["evaluate", "export", "register", "start", "train"]
    engine, blobs = open_sql(settings), BlobStore(settings.path_of(settings.blobs_url))
    champion = registry.find_model(engine, "champion")
    shown = list(lineage_lines(registry.lineage(engine, blobs, "champion")))
    listed = list(list_lines(registry.list_models(engine)))
    engine.dispose()
    assert f"model {champion.version[:12]} champion: the first model" in trained.stdout.splitlines()[-1]
    manifest = load_model(blobs, champion.version).manifest
    assert (manifest.history_length, len(manifest.titles)) == (16, 30)
    runs = settings.state / "metaflow" / ".metaflow"
    assert (runs / champion.run).is_dir()
    assert not list((settings.state / "training").iterdir())
    assert not list((tmp_path / "elsewhere").iterdir()), "nothing is kept outside of the state folder"
    stored = sum(path.stat().st_size for path in runs.rglob("*") if path.is_file())
    assert stored < 1_000_000, "steps hand on addresses, and no code is packaged"
    assert any("member-events partition 0 epoch 1: offsets 0-" in line for line in shown)
    assert listed[1].startswith(champion.version[:12])


@pytest.mark.slow
def test_a_step_that_fails_is_told_in_a_line_and_by_the_exit_code(tmp_path: Path) -> None:
    failed = marquee(tmp_path / "state", "train")
    assert failed.returncode == 1
    assert failed.stdout == ""
    assert failed.stderr.startswith("error: step start: FixRequest: warehouse: holds 0 member events")
    assert "marquee replay movielens PATH" in failed.stderr
    assert "Traceback" not in failed.stderr


SLEEPER = """
import subprocess, sys, time
step = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(f"2026-01-02 03:04:05.678 [1/train/2 (pid {step.pid})] Task is starting.", flush=True)
print(f"2026-01-02 03:04:05.678 [1/train/2 (pid {step.pid})] {step.pid}", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_what_interrupts_the_command_ends_the_flow_and_its_steps(tmp_path: Path) -> None:
    flow = tmp_path / "sleeper.py"
    flow.write_text(SLEEPER)
    pids = []

    def interrupt(event: StepEvent) -> None:
        if event.what == "says":
            pids.append(int(event.text))
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        run_flow(flow, "Sleeper", [], Settings(state=tmp_path), interrupt)
    assert ends_soon(pids[0])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def ends_soon(pid: int) -> bool:
    """Return whether a process ends within two seconds; a zombie that nobody has waited for has ended."""
    for _ in range(40):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_lines_of_a_flow_are_told_apart() -> None:
    head = "2026-01-02 03:04:05.678 [17952/train/2 (pid 5)]"
    assert parse_line(f"{head} Task is starting.") == StepEvent("train", "starts")
    assert parse_line(f"{head} 12 events [of 3] (pid 4)") == StepEvent("train", "says", "12 events [of 3] (pid 4)")
    assert parse_line(f"{head} Task failed.") == StepEvent("train", "fails")
    assert parse_line(f"{head} Task finished successfully.") == StepEvent("train", "ends")
    assert parse_line("2026-01-02 03:04:05.678 Workflow starting (run-id 17952):") is None
    assert parse_line("") is None


def test_metaflow_keeps_everything_below_the_state_folder(tmp_path: Path) -> None:
    environment = metaflow_environment(Settings(state=tmp_path))
    paths = [value for value in environment.values() if value.startswith("/")]
    assert len(paths) == 4
    assert all(Path(path).is_relative_to(tmp_path) for path in paths)


def test_root_and_nobody_run_flows_under_a_name_that_metaflow_takes() -> None:
    assert [flow_user(login) for login in ("ada", "root", "")] == ["ada", "marquee", "marquee"]
