"""What a simulation saw: counts that add up, and the tables they make."""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

MAX_LATENCIES: Final = 100_000
"""Latencies kept for the percentiles: the latest ones."""


@dataclass
class RowCounts:
    """Titles shown, looked at and clicked in rows of one kind."""

    shown: int = 0
    examined: int = 0
    clicked: int = 0

    @property
    def click_through(self) -> float:
        """Clicks over titles shown; 0 when none was shown."""
        return self.clicked / self.shown if self.shown else 0.0


@dataclass
class Report:
    """The counts of a simulation so far."""

    pages: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    rows: dict[str, RowCounts] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    waits: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    page_ms: deque[float] = field(default_factory=lambda: deque(maxlen=MAX_LATENCIES))

    def add_rows(self, counts: dict[str, tuple[int, int, int]]) -> None:
        """Add one page's (shown, examined, clicked) by row kind."""
        for kind, (shown, examined, clicked) in counts.items():
            row = self.rows.setdefault(kind, RowCounts())
            row.shown += shown
            row.examined += examined
            row.clicked += clicked

    def quantile_ms(self, share: float) -> float:
        """Return the latency in ms that `share` of the pages stayed below; 0 before the first page."""
        ordered = sorted(self.page_ms)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


def row_table(report: Report) -> Table:
    """Return click-through by row kind, best first."""
    table = Table(title="Click-through by row", title_justify="left")
    table.add_column("row")
    for name in ("shown", "looked at", "clicked", "click-through"):
        table.add_column(name, justify="right")
    for kind, row in sorted(report.rows.items(), key=lambda item: -item[1].click_through):
        table.add_row(
            kind, f"{row.shown:,}", f"{row.examined:,}", f"{row.clicked:,}", f"{100 * row.click_through:.2f} %"
        )
    return table


def summary_lines(report: Report) -> list[str]:
    """Return what else happened, a line each."""
    steps = ", ".join(f"{count:,} {step}" for step, count in report.steps.most_common())
    events = ", ".join(f"{count:,} {kind}" for kind, count in report.events.most_common())
    latency = f"p50 {report.quantile_ms(0.5):.1f} ms, p99 {report.quantile_ms(0.99):.1f} ms"
    lines = [
        f"{report.pages:,} pages ({steps or 'none'}), {latency}",
        f"{report.accepted:,} events accepted ({events or 'none'})",
    ]
    if report.waits:
        lines.append(f"asked to slow down or wait {report.waits:,} times, and did")
    lines += [f"{count:,} events rejected: {reason}" for reason, count in report.rejected.most_common()]
    lines += [f"{count:,} errors: {message}" for message, count in report.errors.most_common()]
    return lines


@contextlib.contextmanager
def watch_report(report: Report, console: Console) -> Iterator[None]:
    """Show a report's main counts on the console, as they grow."""
    with Live(_Glance(report), console=console, refresh_per_second=4, transient=True):
        yield


class _Glance:
    """Renders a report in one line, anew each time."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def __rich__(self) -> str:
        report = self._report
        errors = f", [red]{sum(report.errors.values()):,} errors[/red]" if report.errors else ""
        return f"{report.pages:,} pages, {report.accepted:,} events, p99 {report.quantile_ms(0.99):.1f} ms{errors}"
