"""Which registered models were trained on a member's events: asked before the member is forgotten, while the warehouse
still says which records are theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from streams.errors import Corrupt, TryAgain
from streams.stores.blobs import BlobStore
from streams.topics import MEMBER_EVENTS
from streams.warehouse.ranges import list_files, resolve
from streams.warehouse.reading import read_slices, while_files_change
from streams.warehouse.schemas import schema_of
from training_bridge.dataset_manifest import OffsetRange, decode_dataset_manifest
from training_bridge.registry import list_models

_PLACE: Final = ("partition", "epoch", "offset")
_SCHEMA: Final = pa.schema([field for field in schema_of(MEMBER_EVENTS) if field.name in (*_PLACE, "member_id")])


class Place(NamedTuple):
    """Where in the log a record was."""

    partition: int
    epoch: int
    offset: int


class TrainedOn(NamedTuple):
    """A model and how many of the member's records its dataset covers; None where its manifest is not kept."""

    version: str
    aliases: tuple[str, ...]
    records: int | None


def models_trained_on(engine: sa.Engine, blobs: BlobStore, warehouse: Path, member_id: str) -> list[TrainedOn]:
    """Return the models, the newest first, whose datasets cover records of the member, or can no longer be told.

    Raises TryAgain when the database or the warehouse is away, Corrupt for a damaged file.
    """
    places = member_places(warehouse, member_id)
    if not places:
        return []
    covered: dict[str, int | None] = {}
    found = []
    for model in list_models(engine):
        if model.dataset not in covered:
            ranges = _ranges(blobs, model.dataset)
            covered[model.dataset] = None if ranges is None else count_covered(ranges, places)
        records = covered[model.dataset]
        if records is None or records > 0:
            found.append(TrainedOn(model.version, model.aliases, records))
    return found


def member_places(warehouse: Path, member_id: str) -> list[Place]:
    """Return where the member's events were in the log, those that the warehouse holds; file by file, so in little
    memory."""
    return while_files_change(lambda: list(_places(warehouse, member_id)))


def count_covered(ranges: list[OffsetRange], places: list[Place]) -> int:
    """Return how many places lie in the ranges.

    >>> count_covered([OffsetRange(0, 1, 5, 9, 5)], [Place(0, 1, 9), Place(0, 2, 9), Place(1, 1, 9), Place(0, 1, 10)])
    1
    """
    return sum(
        any(r.partition == p.partition and r.epoch == p.epoch and r.first <= p.offset <= r.last for r in ranges)
        for p in places
    )


def _places(warehouse: Path, member_id: str) -> Iterator[Place]:
    for some in resolve(list_files(warehouse, MEMBER_EVENTS)):
        table = read_slices([some], _SCHEMA)
        of_member = table.filter(pc.fill_null(pc.equal(table.column("member_id"), member_id), False))
        yield from map(Place, *(of_member.column(name).to_pylist() for name in _PLACE))


def _ranges(blobs: BlobStore, dataset: str) -> list[OffsetRange] | None:
    try:
        return decode_dataset_manifest(blobs.get(dataset)).ranges
    except (TryAgain, Corrupt):
        return None
