"""`marquee experiments recompute`: an experiment's aggregates counted anew from the warehouse, beside the agent's."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streams.catalogue import read_catalogue
from streams.errors import FixRequest
from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog, TopicPartition
from streams.experiments.aggregates import ALL, Cell, Sums
from streams.experiments.outcome_store import read_aggregates
from streams.experiments.recompute import recompute
from streams.experiments.table import read_experiments
from streams.settings import Settings
from streams.stores.sql import open_sql
from streams.topics import EXPOSURES, MEMBER_EVENTS
from streams.warehouse import root_of

GROUPS = ("experiments", "warehouse")
"""Of the agents that count, and that write the warehouse: both sides are of the same records once neither is behind."""


class Recomputed(NamedTuple):
    """members: of all variants, by the warehouse. different: cells that the agent has otherwise, or only one side has.
    behind: records that one of the agents has not taken in yet, by group."""

    members: int
    cells: int
    different: Sequence[Cell]
    behind: Mapping[str, int]


def recompute_and_compare(settings: Settings, experiment_id: str) -> Recomputed:
    """Return how an experiment's aggregates differ from those of the warehouse; nothing is changed.

    Raises FixRequest for an experiment that there is not, TryAgain when an engine is away.
    """
    with contextlib.ExitStack() as stack:
        log, engine = open_event_log(settings), open_sql(settings)
        stack.callback(log.close)
        stack.callback(engine.dispose)
        found = {each.definition.id: each for each in read_experiments(engine)}
        if experiment_id not in found:
            raise FixRequest("id", f"there is no experiment {experiment_id}; there are {', '.join(found) or 'none'}")
        behind = {group: _behind(log, group) for group in GROUPS}
        anew = recompute(root_of(settings), found[experiment_id], read_catalogue(engine), log.epochs(MEMBER_EVENTS))
        counted = dict(read_aggregates(engine, experiment_id)[0])
        members = sum(sums.members for cell, sums in anew.items() if cell.segment == ALL)
        return Recomputed(members, len(anew), _different(anew, counted), behind)


def lines_of(recomputed: Recomputed) -> list[str]:
    """Return what a comparison has found, a line each."""
    lines = [f"{recomputed.members:,} members in {recomputed.cells:,} aggregates counted anew from the warehouse"]
    lines += [
        f"the {group} agent is behind by {records:,} records: run this again once it is not"
        for group, records in recomputed.behind.items()
        if records
    ]
    if not recomputed.different:
        return [*lines, "equal to what the agent has counted, to the last digit"]
    shown = [f"  {cell.variant}, day {cell.day}, {cell.stratum} {cell.segment}" for cell in recomputed.different[:20]]
    return [*lines, f"{len(recomputed.different):,} aggregates differ:", *shown]


def _different(anew: Mapping[Cell, Sums], counted: Mapping[Cell, Sums]) -> list[Cell]:
    return sorted(cell for cell in anew.keys() | counted.keys() if anew.get(cell) != counted.get(cell))


def _behind(log: EventLog, group: str) -> int:
    return sum(
        log.end_offset(topic, partition) - (log.committed(group, TopicPartition(topic, partition)) or 0)
        for topic in (EXPOSURES, MEMBER_EVENTS)
        for partition in range(log.partition_count(topic))
    )
