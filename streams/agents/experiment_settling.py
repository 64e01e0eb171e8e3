"""Experiments that were stopped are counted to their end once: what came in after the stop, before it was known to all
who count, is taken out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from streams.experiments.definition import Experiment
from streams.experiments.merging import counted_of, first_of
from streams.experiments.outcome_store import Counting, MemberRow, OutcomeStore
from streams.experiments.outcomes import FirstExposure
from streams.stores.protocol import HistoryRow

MEMBERS_AT_ONCE: Final = 200
"""Members of one transaction: a tenth of a second, in which nobody else writes to an embedded database."""

TRANSACTIONS_A_TURN: Final = 5
"""An experiment of a million members takes minutes: a turn as long as that would cost the agent its place in the group.
Whoever counts meanwhile knows of the stop already."""

Histories = Callable[[str, Sequence[tuple[Experiment, FirstExposure]]], list[HistoryRow]]
"""Returns a member's newest rows, as far back as any of the experiments asks for, given the first exposures."""


class Settling:
    """Which experiments are counted to their end, and how far the one is that is being."""

    def __init__(self, store: OutcomeStore, histories: Histories) -> None:
        self._store = store
        self._histories = histories
        self._settled: set[str] = set()
        self._counted_to: dict[str, str] = {}
        """By experiment, the last member who is."""

    def go_on(self, experiments: Mapping[str, Experiment]) -> None:
        """Count some members of those experiments that have ended. Raises TryAgain; calling again goes on."""
        left = TRANSACTIONS_A_TURN
        for name, experiment in experiments.items():
            if experiment.stopped_at_ms is None or name in self._settled:
                continue
            while not self._settle_some(experiment):
                left -= 1
                if not left:
                    return
            self._settled.add(name)
            self._counted_to.pop(name, None)

    def _settle_some(self, experiment: Experiment) -> bool:
        """Return whether an experiment is settled, having counted some more of its members if it was not."""
        name = experiment.definition.id
        with self._store.counting() as counting:
            if counting.is_settled(name):
                return True
            rows = counting.members_after(name, self._counted_to.get(name, ""), MEMBERS_AT_ONCE)
            for row in rows:
                self._count_to_the_end(counting, experiment, row)
            if not rows:
                counting.settle(name)
                return True
        self._counted_to[name] = rows[-1].member_id
        return False

    def _count_to_the_end(self, counting: Counting, experiment: Experiment, row: MemberRow) -> None:
        first = first_of(experiment, row.counted, ())
        new = None
        if first is not None:
            counted = counted_of(experiment, first, self._histories(row.member_id, [(experiment, first.first)]))
            new = row._replace(counted=counted)
        if new != row:
            counting.replace(experiment.definition, row, new)
