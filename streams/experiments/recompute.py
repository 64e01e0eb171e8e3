"""An experiment's aggregates computed anew from the warehouse: what the agent's must be equal to.

Which events stand in a member's history is decided by the members' fold (a client's retry does not, nor does an event
of a title that was not there), so the events of those who were exposed are folded once more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from heapq import nlargest
from pathlib import Path
from typing import NamedTuple

from streams import warehouse
from streams.catalogue import Catalogue
from streams.errors import Undeliverable
from streams.event_log.epochs import is_placed
from streams.event_log.protocol import Epochs, Record
from streams.events import encode_event
from streams.experiments.aggregates import Cell, Sums, contribution, total
from streams.experiments.definition import Experiment
from streams.experiments.merging import counted_of, first_of
from streams.experiments.outcomes import HISTORY_ROWS, FirstExposure
from streams.features.admission import admit_event
from streams.features.entity_state import EntityState
from streams.features.member import MEMBER, member_key
from streams.impressions import Exposure
from streams.positions import pack_position, unpack_position
from streams.stores.protocol import HistoryRow
from streams.topics import EXPOSURES
from streams.warehouse.reading import StoredEvent, to_exposures


class StoredExposure(NamedTuple):
    """An exposure and where in the log it was."""

    position: int
    exposure: Exposure


def recompute(root: Path, experiment: Experiment, catalogue: Catalogue, epochs: Epochs = ()) -> dict[Cell, Sums]:
    """Return an experiment's aggregates over all partitions from the warehouse below `root`.

    epochs: of `member-events`; a record in a partition that is not its member's counts where it was appended anew.
    Raises TryAgain or Corrupt if the warehouse cannot be read.
    """
    return aggregates_of(experiment, iter_exposures(root), warehouse.iter_events(root), catalogue, epochs)


def aggregates_of(
    experiment: Experiment,
    exposures: Iterable[StoredExposure],
    events: Iterable[StoredEvent],
    catalogue: Catalogue,
    epochs: Epochs = (),
) -> dict[Cell, Sums]:
    """Return an experiment's aggregates; exposures may come in any order, events come in the order of the log."""
    seen = _seen(experiment, exposures)
    histories = histories_of(seen.keys(), events, catalogue, epochs)
    parts = []
    for member_id, firsts in seen.items():
        found = first_of(experiment, None, firsts)
        if found is not None:
            counted = counted_of(experiment, found, histories.get(member_id, []))
            parts.append(contribution(experiment.definition, counted))
    return total(parts)


def histories_of(
    members: Collection[str], events: Iterable[StoredEvent], catalogue: Catalogue, epochs: Epochs = ()
) -> Mapping[str, list[HistoryRow]]:
    """Return the newest rows of members' histories, as the feature agent has stored them."""
    states: dict[str, EntityState] = defaultdict(MEMBER.initialize)
    rows: dict[str, list[HistoryRow]] = defaultdict(list)
    theirs = (stored for stored in events if stored.event.member_id in members)
    for stored in sorted(theirs, key=_epoch):  # a growth of the topic may have moved a member to another partition
        epoch, offset = unpack_position(stored.position)
        record = Record(offset, stored.timestamp_ms, member_key(stored.event.member_id), encode_event(stored.event))
        try:
            event, genres = admit_event(record, catalogue)
        except Undeliverable:
            continue
        if not is_placed(epochs, epoch, record.key, stored.partition):
            continue
        if MEMBER.fold(states[event.member_id], event, stored.position, genres):
            row = (event.event_time_ms, event.type, event.item_id, event.value, event.page_id)
            rows[event.member_id].append(HistoryRow(event.member_id, stored.position, *row))
    return {member_id: nlargest(HISTORY_ROWS, found, key=_age) for member_id, found in rows.items()}


def iter_exposures(root: Path) -> Iterator[StoredExposure]:
    """Yield every exposure in the warehouse."""
    table = warehouse.read_topic(root, EXPOSURES)
    places = zip(table.column("epoch").to_pylist(), table.column("offset").to_pylist(), strict=True)
    for (epoch, offset), exposure in zip(places, to_exposures(table), strict=True):
        yield StoredExposure(pack_position(epoch, offset), exposure)


def _seen(experiment: Experiment, exposures: Iterable[StoredExposure]) -> dict[str, list[FirstExposure]]:
    seen: dict[str, list[FirstExposure]] = defaultdict(list)
    for position, exposure in exposures:
        if exposure.experiment == experiment.definition.id and not exposure.forced:
            seen[exposure.member_id].append(FirstExposure.of(exposure, position))
    return seen


def _epoch(stored: StoredEvent) -> int:
    return unpack_position(stored.position)[0]


def _age(row: HistoryRow) -> tuple[int, int]:
    return row.event_time_ms, row.position
