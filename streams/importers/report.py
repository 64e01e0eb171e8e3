"""A replay as a person sees it: a progress bar, and what was done."""

from __future__ import annotations

import sqlalchemy as sa
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streams.event_log.protocol import EventLog
from streams.importers.columns import BadRows
from streams.importers.dataset import Dataset
from streams.importers.pace import Pace
from streams.importers.replay import Replayed, replay


def replay_with_progress(
    dataset: Dataset, log: EventLog, engine: sa.Engine, pace: Pace, *, shift_to_now: bool, console: Console
) -> Replayed:
    """Replay a data set with a progress bar on the console; see streams.importers.replay.replay."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("publishing titles", total=len(dataset.events))

        def show(done: int) -> None:
            progress.update(task, completed=done, description="appending events")

        return replay(dataset, log, engine, pace, shift_to_now=shift_to_now, on_progress=show)


def replayed_lines(dataset: Dataset, replayed: Replayed) -> list[str]:
    """Return what a replay did, a line each."""
    lines = [f"{dataset.name}: {replayed.published:,} of {len(dataset.titles):,} titles are new"]
    if replayed.before:
        lines.append(f"{replayed.before:,} events were in the log already")
    rate = f" in {replayed.seconds:.1f} s ({replayed.appended / max(replayed.seconds, 1e-3):,.0f} a second)"
    lines.append(f"{replayed.appended:,} events appended{rate if replayed.appended else ''}")
    if replayed.shift_ms:
        lines.append(f"event times moved by {replayed.shift_ms // 86_400_000:,} days")
    return lines + bad_row_lines(dataset.bad_rows)


def bad_row_lines(bad: BadRows) -> list[str]:
    """Return the rows left out, the first few by name; none for none."""
    if not bad.count:
        return []
    named = [f"  {row.file}, line {row.line}: {row.fix}" for row in bad.examples]
    more = [f"  and {bad.count - len(named):,} more"] if bad.count > len(named) else []
    return [f"{bad.count:,} bad rows left out:", *named, *more]
