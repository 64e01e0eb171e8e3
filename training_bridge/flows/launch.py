"""Running a flow as a child process: its steps as they go, and the error of the one that failed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from streams.settings import Settings
from training_bridge.flows.environment import configure_metaflow, metaflow_environment

_TASK_LINE: Final = re.compile(r"^\S+ \S+ \[(?P<run>[^/]+)/(?P<step>\w+)/(?P<task>[^ ]+) \(pid \d+\)\] (?P<text>.*)$")
_STARTS: Final = "Task is starting."
_ENDS: Final = "Task finished successfully."
_FAILS: Final = "Task failed."
GRACE_S: Final = 3.0
"""How long a flow may take to end its steps when it is interrupted, before it is killed with them."""
KEPT_LINES: Final = 50
"""Lines of output that are kept in case the flow fails before any step begins."""

OnStep = Callable[["StepEvent"], None]


@dataclass(frozen=True, slots=True)
class StepEvent:
    """What happened in a step: it "starts", "says" a line, "ends" or "fails"."""

    step: str
    what: str
    text: str = ""


class FlowFailed(Exception):  # noqa: N818 - the flow did, not this program
    """A run did not finish. step: the one that failed, "" if none did; message: its error, in a line or a few."""

    def __init__(self, step: str, message: str, run_id: str) -> None:
        super().__init__(f"step {step}: {message}" if step else message)
        self.step = step
        self.message = message
        self.run_id = run_id


def run_flow(flow: Path, flow_name: str, arguments: Sequence[str], settings: Settings, on_step: OnStep) -> str:
    """Run a flow to its end; return its run id. Raises FlowFailed. A Ctrl-C or SIGTERM ends the flow too."""
    with tempfile.TemporaryDirectory(prefix="marquee-run-") as folder:
        run_id_file = Path(folder) / "run_id"
        environment = {**shared_cores(), **os.environ, **metaflow_environment(settings)}
        command = [sys.executable, str(flow), "--quiet", "--no-pylint", "run", "--run-id-file", str(run_id_file)]
        failed, tail, code = _follow([*command, *arguments], environment, on_step)
        run_id = run_id_file.read_text() if run_id_file.exists() else ""
    if code != 0:
        message = step_error(settings, f"{flow_name}/{run_id}/{failed}") if failed else None
        raise FlowFailed(failed, message or "\n".join(tail) or f"exit code {code}", run_id)
    return run_id


def shared_cores() -> dict[str, str]:
    """Return the environment in which two steps that run side by side share the cores rather than fight for them."""
    threads = str(max(1, (os.cpu_count() or 1) // 2))
    return {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}


def parse_line(line: str) -> StepEvent | None:
    """Return what a line of a flow's output says of a step, None if it is about none.

    >>> parse_line("2026-01-02 03:04:05.678 [17/train/2 (pid 5)] Task is starting.")
    StepEvent(step='train', what='starts', text='')
    """
    found = _TASK_LINE.match(line)
    if found is None:
        return None
    what = {_STARTS: "starts", _ENDS: "ends", _FAILS: "fails"}.get(found["text"], "says")
    return StepEvent(found["step"], what, found["text"] if what == "says" else "")


def step_error(settings: Settings, pathspec: str) -> str | None:
    """Return the error that a step (flow/run/step) ended with, without its traceback; None if it kept none."""
    configure_metaflow(settings)
    from metaflow import Step, namespace
    from metaflow.exception import MetaflowException

    namespace(None)
    try:
        wrapped = Step(pathspec).task.exception
    except (MetaflowException, KeyError):
        return None
    return None if wrapped is None else f"{wrapped.type.rpartition('.')[2]}: {wrapped.exception}"


def _follow(command: Sequence[str], environment: Mapping[str, str], on_step: OnStep) -> tuple[str, list[str], int]:
    """Run a command; return the step that failed ("" if none), the last lines about no step, and its exit code."""
    failed, tail = "", list[str]()
    with _process_group(command, environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = parse_line(line.rstrip("\n"))
            if event is None:
                tail = [*tail, line.rstrip()][-KEPT_LINES:]
                continue
            failed = event.step if event.what == "fails" else failed
            on_step(event)
    return failed, tail, process.returncode


@contextmanager
def _process_group(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Yield a child in a process group of its own, to its end. Whatever ends this earlier (Ctrl-C, a SIGTERM, an error)
    ends the whole group: the flow and the steps that it has started."""
    with (
        _exit_on_sigterm(),
        subprocess.Popen(  # noqa: S603 - our own flow and interpreter
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process,
    ):
        try:
            yield process
        except BaseException:
            _end_group(process)
            raise


def _end_group(process: subprocess.Popen[str]) -> None:
    for sent in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sent)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)


@contextmanager
def _exit_on_sigterm() -> Iterator[None]:
    """Let a SIGTERM end the program by an exception, so that what it started is ended too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
