"""The experiments as this process knows them: followed in the background, swapped whole, kept while the database is
away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import sqlalchemy as sa

from serving import metrics
from serving.experiments.allocation import Allocation
from serving.experiments.last_good import LastGood
from streams.errors import Corrupt, MarqueeError
from streams.experiments.definition import Experiment, Patch
from streams.experiments.table import decode_experiment, decode_patch
from streams.experiments.tables import defaults_table, experiments_table
from streams.stores.sql import reading

FILE: Final = "experiments.live"
"""In the state folder."""

MAX_FOLLOWED: Final = 10_000
"""Experiments of all statuses but archived; as many as are kept at all."""

MAX_READ: Final = 200
"""Definitions read with one statement: engines bound how many ids it may name."""

_log = logging.getLogger(__name__)


class _Mark(NamedTuple):
    """What tells whether a row has changed."""

    status: str
    revision: int
    updated_at_ms: int


class _Row(NamedTuple):
    """A row as it was last read. problem: why the experiment is not that of the row as it is now."""

    mark: _Mark
    experiment: Experiment | None
    problem: str | None


class LiveView(NamedTuple):
    """What is known at one moment. experiments: by id, all but archived ones; allocation: of the running ones."""

    experiments: Mapping[str, Experiment]
    allocation: Allocation


class LiveExperiments:
    """Follows the table of experiments. `view` is swapped whole, and `current` only when what members get has changed:
    who remembers assignments drops them once `current` is another object.

    A row that cannot be read leaves its experiment as it was, and all others in order. Whatever happens, what was last
    read stays in use; it is in a file, too, which a process starts from.
    """

    def __init__(self, engine: sa.Engine, file: Path, refresh_s: float, clock_ms: Callable[[], int]) -> None:
        """file: of the last good definitions, in a folder that exists."""
        self._engine = engine
        self._file = LastGood(file)
        self._refresh_s = refresh_s
        self._clock_ms = clock_ms
        self._rows: Mapping[str, _Row] = {}
        self._defaults = Patch()
        self._filed = False
        self.view = LiveView(MappingProxyType({}), Allocation([], Patch()))
        self.is_known = False
        """Whether the view says what there is: it was read, from the database or the file."""
        self.problem: str | None = None
        """Why the last refresh failed, None if it did not."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def current(self) -> Allocation:
        """The running experiments."""
        return self.view.allocation

    @property
    def problems(self) -> Mapping[str, str]:
        """Why experiments are not as their rows say, or take no members though they run, by id."""
        unread = {name: row.problem for name, row in self._rows.items() if row.problem is not None}
        return MappingProxyType({**self.current.problems, **unread})

    def start(self) -> None:
        """Take what the file has, then what the database has, then follow it on a thread of its own until `close`."""
        self._load()
        self.refresh()
        self._thread = threading.Thread(target=self._follow, name="live-experiments", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following. The view stays usable."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def refresh(self) -> bool:
        """Read what has changed in the database; return whether what members get has. Raises nothing: a database that
        is away leaves all as it was, and its reason in `problem`."""
        try:
            changed = self._refresh()
        except MarqueeError as error:
            self._fail(f"experiments cannot be read: {error}")
            return False
        except Exception as error:  # noqa: BLE001 - a surprise must not end the thread: no change would arrive
            _log.exception("experiments could not be read")
            self._fail(f"experiments cannot be read: {error!r}")
            return False
        self.problem = None
        metrics.EXPERIMENTS_READ_SECONDS.set(self._clock_ms() / 1_000)
        return changed

    def _refresh(self) -> bool:
        rows, defaults = self._read()
        same = self.is_known and defaults == self._defaults and rows == self._rows
        self._rows, self._defaults = rows, defaults
        changed = not same and self._swap([row.experiment for row in rows.values() if row.experiment], defaults)
        if not (same and self._filed):
            self._write()
        return changed

    def _follow(self) -> None:
        while not self._stop.wait(self._refresh_s):
            self.refresh()

    def _fail(self, problem: str) -> None:
        if self.problem is None:
            _log.warning("%s; what was read before stays in use", problem)
        self.problem = problem
        metrics.EXPERIMENTS_READ_FAILURES.inc()

    def _swap(self, experiments: Sequence[Experiment], defaults: Patch) -> bool:
        """Put experiments in use; return whether members get anything else by them."""
        before = self.view.allocation
        running = {each.definition.id: each for each in experiments if each.status == "running"}
        known = self.is_known and defaults == before.defaults
        unchanged = known and running == _running(self.view.experiments)
        allocation = before if unchanged else Allocation(list(running.values()), defaults)
        self.view = LiveView(MappingProxyType({each.definition.id: each for each in experiments}), allocation)
        self.is_known = True
        metrics.EXPERIMENTS_RUNNING.set(len(allocation.experiments))
        metrics.EXPERIMENTS_AT_FAULT.set(len(self.problems))
        if not unchanged:
            for name, problem in self.problems.items():
                _log.error("experiment %s is not as it should be: %s", name, problem)
        return not unchanged

    def _read(self) -> tuple[dict[str, _Row], Patch]:
        table = experiments_table.c
        marks = sa.select(table.id, table.status, table.revision, table.updated_at_ms).where(table.status != "archived")
        with reading(self._engine) as connection:
            found = {
                row.id: _Mark(*row[1:]) for row in connection.execute(marks.order_by(table.id).limit(MAX_FOLLOWED))
            }
            new = [name for name, mark in found.items() if name not in self._rows or self._rows[name].mark != mark]
            values: dict[str, str] = {}
            for begin in range(0, len(new), MAX_READ):
                select = sa.select(table.id, table.value).where(table.id.in_(new[begin : begin + MAX_READ]))
                values |= {row.id: row.value for row in connection.execute(select)}
            defaults = connection.scalar(sa.select(defaults_table.c.value).where(defaults_table.c.id == 1))
        rows = {name: self._row(name, found[name], values) for name in found}
        return rows, Patch() if defaults is None else self._patch(defaults)

    def _patch(self, value: str) -> Patch:
        try:
            return decode_patch(value)
        except Corrupt as error:
            _log.error("%s; pages stay as they are", error)
            return self._defaults

    def _row(self, name: str, mark: _Mark, values: Mapping[str, str]) -> _Row:
        """Return a row: as it is known, or from its new value. What cannot be read stays as it was while its status
        does."""
        before = self._rows.get(name)
        if name not in values:
            assert before is not None
            return before
        try:
            experiment = decode_experiment(values[name])
        except Corrupt as error:
            problem = str(error)
        else:
            if experiment.definition.id == name:
                return _Row(mark, experiment, None)
            problem = f"its row has experiment {experiment.definition.id}"
        last = before.experiment if before is not None else self.view.experiments.get(name)
        return _Row(mark, last if last is not None and last.status == mark.status else None, problem)

    def _load(self) -> None:
        kept = self._file.read()
        if kept is not None:
            experiments, self._defaults = kept
            self._swap(experiments, self._defaults)

    def _write(self) -> None:
        try:
            self._file.write(list(self.view.experiments.values()), self._defaults)
            self._filed = True
        except OSError as error:
            self._filed = False
            _log.warning("the last good definitions of experiments cannot be written: %s", error)


def _running(experiments: Mapping[str, Experiment]) -> dict[str, Experiment]:
    return {name: each for name, each in experiments.items() if each.status == "running"}
