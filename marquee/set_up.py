"""The set-up of a new platform, step by step; each finished step is kept, so that an interrupted set-up goes on."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import sqlalchemy as sa
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from marquee import commands
from marquee.state_folder import StateFolder
from marquee.supervisor import Supervisor
from marquee.task import run_task
from marquee.waiting import wait_until_consumed
from streams import topics
from streams.errors import FixRequest, TryAgain
from streams.event_log.protocol import EventLog
from streams.importers.dataset import Dataset
from streams.importers.pace import Pace
from streams.importers.replay import replay
from streams.importers.report import bad_row_lines
from streams.settings import Settings

NEEDED: Final = ("history", "warehouse", "model", "features")
"""What must be done before members get personalised pages, in this order: training needs no features."""
LATER: Final = ("pages",)
"""What can be done while they do: pages computed ahead are only for bad times."""
GENERATED: Final = "generated"
LINE_WIDTH: Final = 60
MEANWHILE_S: Final = 0.1
"""A step that took less was done beside the others: its own time is not known."""


def source_of(data: Path | None) -> str:
    """Return what the set-up record calls a source of data."""
    return GENERATED if data is None else str(data.resolve())


def check_dataset(data: Path | None) -> None:
    """Raise FixRequest unless a folder looks like a data set that can be read."""
    if data is not None and not ((data / "ratings.csv").exists() or any(data.glob("log_*.csv*"))):
        raise FixRequest(
            str(data), "it holds neither MovieLens' ratings.csv nor KuaiRand's log_*.csv; name a folder with DATA=path"
        )


def read_dataset(data: Path | None) -> Dataset:
    """Return the data set in a folder (MovieLens or KuaiRand), or a generated one. FixRequest for anything else."""
    check_dataset(data)
    if data is None:
        from streams.simulation.generated import generate_dataset

        return generate_dataset()
    if (data / "ratings.csv").exists():
        from streams.importers.movielens import read_movielens

        return read_movielens(data)
    from streams.importers.kuairand import read_kuairand

    return read_kuairand(data)


class SetUp:
    """Runs the steps that are not done yet, beside agents that run already."""

    def __init__(
        self,
        settings: Settings,
        folder: StateFolder,
        supervisor: Supervisor,
        log: EventLog,
        engine: sa.Engine,
        console: Console,
        logs: Path,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._supervisor = supervisor
        self._log = log
        self._engine = engine
        self._console = console
        self._logs = logs

    def is_done(self, steps: Sequence[str]) -> bool:
        """Return whether all of these steps are done."""
        return not self._left(steps)

    def check_source(self, data: Path | None) -> None:
        """Keep where the data come from. Raises FixRequest if the folder was set up from elsewhere."""
        setup, source = self._folder.read(), source_of(data)
        if not setup.source:
            check_dataset(data)
            self._folder.write(msgspec.structs.replace(setup, source=source))
        elif data is not None and setup.source != source:
            raise FixRequest(
                str(data),
                f"{self._folder.path} was set up from {setup.source}; choose another STATE=path or `marquee reset`",
            )

    def run(self, names: Sequence[str]) -> None:
        """Do what is left of these steps. If one fails, the platform goes on without it: it serves what it has."""
        steps: dict[str, Callable[[_Bar], str]] = {
            "history": self._append,
            "warehouse": lambda bar: self._consume("warehouse", bar),
            "model": lambda bar: self._run("train", bar),
            "features": lambda bar: self._consume("features", bar),
            "pages": lambda bar: self._run("precompute", bar),
        }
        left = self._left(names)
        try:
            with _progress(self._console) as progress:
                for name in left:
                    self._step(name, steps[name], progress)
        except TryAgain as error:
            self._console.print(f"  set-up is not complete: {error}", style="yellow", markup=False, highlight=False)
            self._console.print("  going on without; the next start does the rest", style="yellow", highlight=False)
        if "warehouse" in left:
            self._supervisor.start(commands.sink_agent(self._settings))

    def _left(self, names: Sequence[str]) -> list[str]:
        done = self._folder.read().steps
        return [name for name in names if name not in done]

    def _step(self, name: str, step: Callable[[_Bar], str], progress: Progress) -> None:
        started_s = time.monotonic()
        if not self._console.is_terminal:
            self._console.print(f"  {name:<10} …", highlight=False)
        task = progress.add_task(name, total=None, note="")
        result = step(_Bar(progress, task))
        progress.remove_task(task)
        self._folder.finish(name, result)
        seconds = time.monotonic() - started_s
        took = f"{seconds:.1f} s" if seconds >= MEANWHILE_S else "meanwhile"
        self._console.print(f"  {name:<10} {result.removeprefix(f'{name} ')} [dim]({took})[/dim]", highlight=False)

    def _append(self, bar: _Bar) -> str:
        bar.note("reading")
        source = self._folder.read().source
        dataset = read_dataset(None if source == GENERATED else Path(source))
        bar.total(len(dataset.events))
        bar.note("publishing titles")
        replayed = replay(
            dataset,
            self._log,
            self._engine,
            Pace(),
            shift_to_now=True,
            on_progress=lambda done: bar.reach(done, "events"),
        )
        for line in bad_row_lines(dataset.bad_rows):
            self._console.print(f"  {line}", highlight=False, markup=False)
        moved = f", moved by {replayed.shift_ms // 86_400_000:,} days" if replayed.shift_ms else ""
        return f"{len(dataset.events):,} events of {len(dataset.titles):,} titles from {dataset.name}{moved}"

    def _consume(self, group: str, bar: _Bar) -> str:
        ends = range(self._log.partition_count(topics.MEMBER_EVENTS))
        total = sum(self._log.end_offset(topics.MEMBER_EVENTS, partition) for partition in ends)
        bar.total(total)
        wait_until_consumed(self._log, group, [topics.MEMBER_EVENTS], lambda left: bar.reach(total - left, "events"))
        return f"{total:,} events {'folded into member and title states' if group == 'features' else 'in Parquet'}"

    def _run(self, name: str, bar: _Bar) -> str:
        spec = commands.training(self._settings) if name == "train" else commands.precomputing(self._settings)
        last = ["done"]

        def on_line(line: str) -> None:
            last[0] = line
            bar.note(line[:LINE_WIDTH])

        run_task(spec, self._logs, on_line)
        return _result(last[0])


def _result(line: str) -> str:
    """Return what a task's last line says, without its step's name and time."""
    return re.sub(r"^\w+ {2,}|\s*\([0-9.]+ s\)$", "", line)


class _Bar:
    """One step's line in the progress display."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def total(self, total: int) -> None:
        self._progress.update(self._task, total=total)

    def reach(self, done: int, note: str) -> None:
        self._progress.update(self._task, completed=done, note=f"{done:,} {note}")

    def note(self, note: str) -> None:
        self._progress.update(self._task, note=note)


@contextmanager
def _progress(console: Console) -> Iterator[Progress]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress
