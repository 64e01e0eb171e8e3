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
    """Shows steps: a spinner for the one in work, a line for each that is done, and the last words at the end."""

    def __init__(self, console: Console, status: Status) -> None:
        self._console = console
        self._status = status
        self._started_s = 0.0
        self._said = ""

    def __call__(self, event: StepEvent) -> None:
        """Take in what happened in a step."""
        if event.what == "starts":
            self._started_s, self._said = time.monotonic(), ""
            self._status.update(event.step)
        elif event.what == "says":
            self._said = event.text
        elif self._said:
            took_s = time.monotonic() - self._started_s
            self._console.print(f"{event.step:<9} {self._said} ({took_s:.1f} s)", highlight=False, markup=False)
