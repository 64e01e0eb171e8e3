"""`marquee train`: the training flow in a child process, shown step by step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.status import Status

from streams.settings import Settings
from training_bridge.flows.launch import StepEvent, run_flow

FLOW: Final = Path(__file__).with_name("train_flow.py")
FLOW_NAME: Final = "TrainFlow"


def run_training(given: Mapping[str, object], settings: Settings, console: Console) -> str:
    """Run the flow with the parameters given (None: its default), showing its steps; return the run's pathspec.

    Raises FlowFailed. On a terminal the step in work is shown as it goes; the last line says what became of the model.
    """
    arguments = [text for name, value in given.items() if value is not None for text in (f"--{name}", str(value))]
    with console.status("starting") as status:
        run_id = run_flow(FLOW, FLOW_NAME, arguments, settings, StepDisplay(console, status))
    return f"{FLOW_NAME}/{run_id}"


class StepDisplay:
    """Shows steps: a spinner for those in work, a line for each that is done, and the last words at the end."""

    def __init__(self, console: Console, status: Status) -> None:
        self._console = console
        self._status = status
        self._started_s: dict[str, float] = {}
        self._said: dict[str, str] = {}

    def __call__(self, event: StepEvent) -> None:
        """Take in what happened in a step."""
        if event.what == "starts":
            self._started_s[event.step] = time.monotonic()
        elif event.what == "says":
            self._said[event.step] = event.text
        elif event.what == "ends":
            self._finish(event.step)
        self._status.update(", ".join(self._started_s) or "going on")

    def _finish(self, step: str) -> None:
        took_s = time.monotonic() - self._started_s.pop(step, time.monotonic())
        if step in self._said:
            self._console.print(f"{step:<9} {self._said[step]} ({took_s:.1f} s)", highlight=False, markup=False)
