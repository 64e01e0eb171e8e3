"""How an experiment stands: its aggregates and looks read from the database, reported on and decided by its rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import msgspec
import sqlalchemy as sa

from serving.experiments.decision import Decision, decide
from serving.experiments.looks import MINUTE_MS, Look, last_look, look_of, store_look
from serving.experiments.pinning import moved_while_running
from serving.experiments.report import Report
from serving.experiments.results import report_of
from streams.experiments.aggregates import Aggregate, encode_sums
from streams.experiments.definition import Experiment
from streams.experiments.outcome_store import read_aggregates

ATTEMPTS: Final = 3
"""To store a look on top of the last one, when others store theirs at the same time."""


Read = Callable[[sa.Engine, str, bool], tuple[Sequence[Aggregate], int | None]]


@dataclass(frozen=True, slots=True)
class Standing:
    """A report and what the rules make of it; look: as it would be kept, last: the look that it was computed on."""

    report: Report
    decision: Decision
    look: Look
    last: Look | None


class Standings:
    """Reads how experiments stand. Methods raise TryAgain when the database is away, Corrupt for rows that this version
    of Marquee has not written."""

    def __init__(self, engine: sa.Engine, read: Read = read_aggregates) -> None:
        """read: returns an experiment's aggregates, with segments or not, and the time of the newest data in them."""
        self._engine = engine
        self._read = read

    def stand(self, experiment: Experiment, now_ms: int, *, takes_look: bool = False) -> Standing:
        """Return how an experiment stands. takes_look: for who stores the look alone, see `report_of`; segments are not
        looked at then."""
        name = experiment.definition.id
        last = last_look(self._engine, name)
        aggregates, data_ms = self._read(self._engine, name, not takes_look)
        moved = moved_while_running(self._engine, experiment, now_ms)
        report = report_of(experiment, aggregates, last, now_ms, data_ms=data_ms, takes_look=takes_look, moved=moved)
        decision = decide(report, experiment.definition, now_ms)
        return Standing(report, decision, look_of(report, decision.verdict, mark_of(aggregates)), last)

    def take_look(self, experiment: Experiment, now_ms: int) -> Standing:
        """Return how an experiment stands, and keep it as a look if it says what the last one does not.

        A planned look that is due is taken, but only if it can be kept: its share of alpha is spent once.
        """
        for _ in range(ATTEMPTS):
            standing = self.stand(experiment, now_ms, takes_look=True)
            if is_worth_storing(standing.look, standing.last):
                if store_look(self._engine, experiment.definition.id, standing.look, standing.last):
                    return standing
            elif standing.look.planned == (standing.last.planned if standing.last else ()):
                return standing
        return self.stand(experiment, now_ms)


def is_worth_storing(look: Look, last: Look | None) -> bool:
    """Return whether a look is to be kept: at once if it found something for good or decides otherwise than the last
    one, else once a minute if the data have changed."""
    if last is None:
        return look.members > 0
    if look.at_ms <= last.at_ms:
        return False
    if (len(look.planned), look.verdict, _harmed(look)) != (len(last.planned), last.verdict, _harmed(last)):
        return True
    return look.mark != last.mark and look.at_ms - last.at_ms >= MINUTE_MS


def mark_of(aggregates: Iterable[Aggregate]) -> str:
    """Return a mark of aggregates: equal ones have equal marks, whatever their order."""
    rows = sorted((*map(str, cell), encode_sums(sums)) for cell, sums in aggregates)
    return blake2b(msgspec.json.encode(rows), digest_size=12).hexdigest()


def _harmed(look: Look) -> set[tuple[str, str]]:
    return {(each.metric, each.variant) for each in look.guardrails if each.harm == "harmed"}
