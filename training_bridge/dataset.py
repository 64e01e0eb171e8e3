"""Datasets: the warehouse's member events as time-ordered interactions, split by time and content-addressed.

An event counts once however often it was delivered. It stands where it happened, not where it arrived: a late event is
put in event-time order. A title is known to an event by the folds' own rule: published before the record was appended.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

import streams.features.strength as strength_module
import training_bridge.dataset_manifest as manifest_module
import training_bridge.ranker.interactions as interactions_module
from streams import topics
from streams.catalogue import Catalogue, Title
from streams.errors import Corrupt, FixRequest
from streams.features.strength import strength
from training_bridge.code_address import code_address
from training_bridge.dataset_manifest import DatasetManifest, DatasetParameters, OffsetRange, encode_dataset_manifest
from training_bridge.ranker.interactions import ENGAGED_TYPES, Interactions
from training_bridge.ranker.titles_meta import TitlesMeta, build_titles_meta

COLUMNS: Final = (
    "partition",
    "epoch",
    "offset",
    "timestamp_ms",
    "event_id",
    "type",
    "member_id",
    "item_id",
    "event_time_ms",
    "value",
)
"""The columns of the warehouse's member events that a dataset is made of."""

MIN_EVENTS: Final = 100
"""Under this, held-out events are too few to say anything: 20 of them at the default split."""
MIN_MEMBERS: Final = 2
MIN_TITLES: Final = 2
HOW_TO_FILL: Final = (
    "load some with `marquee replay movielens PATH` or `marquee simulate`, and let `marquee agents sink` write them"
)


@dataclass(frozen=True)
class Dataset:
    """A dataset in memory. interactions: all of it, over the vocabulary `titles` (all that the catalogue held)."""

    manifest: DatasetManifest
    interactions: Interactions
    meta: TitlesMeta

    @cached_property
    def address(self) -> str:
        """The content address: sha256 of the manifest."""
        return hashlib.sha256(encode_dataset_manifest(self.manifest)).hexdigest()

    @property
    def train(self) -> Interactions:
        """The interactions before the split."""
        return self.interactions.before(self.manifest.train_rows)


def build_dataset(records: pa.Table, titles: Sequence[Title], parameters: DatasetParameters) -> Dataset:
    """Return the dataset in `records` (COLUMNS, in any order) over the vocabulary `titles`.

    Raises FixRequest when there are too few events, members or titles to train on, or nothing on one side of the split.
    """
    parameters.check()
    arrived = records.sort_by([(name, "ascending") for name in ("partition", "epoch", "offset")])
    once = arrived.take(_first_deliveries(arrived))
    untitled = pc.equal(once["item_id"], "")
    known = _known(once, titles)
    in_time = _before(once, parameters.until_ms)
    kept = once.filter(pc.and_(known, in_time))
    events = kept.sort_by([(name, "ascending") for name in ("event_time_ms", "partition", "epoch", "offset")])
    interactions = to_interactions(events, titles)
    _check_size(interactions)
    split_ms = _split_ms(interactions.time_ms, parameters)
    train_rows = int(np.searchsorted(interactions.time_ms, split_ms))
    _check_split(train_rows, len(interactions), split_ms)
    manifest = DatasetManifest(
        topic=topics.MEMBER_EVENTS,
        ranges=offset_ranges(arrived),
        rows=len(interactions),
        duplicates=len(arrived) - len(once),
        unknown_titles=len(once) - _count(known) - _count(untitled),
        untitled=_count(untitled),
        after_until=_count(known) - len(events),
        members=interactions.members,
        titles=len(titles),
        first_ms=int(interactions.time_ms[0]),
        last_ms=int(interactions.time_ms[-1]),
        split_ms=split_ms,
        train_rows=train_rows,
        parameters=parameters,
        catalogue=catalogue_address(titles),
        content=content_address(events),
        code=code_address([strength_module, interactions_module, manifest_module, sys.modules[__name__]]),
    )
    return Dataset(manifest, interactions, meta_of(titles))


def rebuild_dataset(records: pa.Table, catalogue: Catalogue, manifest: DatasetManifest) -> Dataset:
    """Return the dataset that a manifest describes, from (at least) the records of its ranges.

    Raises Corrupt when records or titles are gone or changed, so that it would be another dataset.
    """
    titles = list(catalogue.values())[: manifest.titles]
    dataset = build_dataset(within_ranges(records, manifest.ranges), titles, manifest.parameters)
    if dataset.manifest != manifest:
        fields = [f for f in manifest.__struct_fields__ if getattr(dataset.manifest, f) != getattr(manifest, f)]
        raise Corrupt(f"the dataset is not what its manifest says: {', '.join(fields)} differ; start a new run")
    return dataset


def to_interactions(events: pa.Table, titles: Sequence[Title]) -> Interactions:
    """Return events (ordered, of known titles) as columns of numbers; members are numbered by their ids' order."""
    vocabulary = tuple(title.item_id for title in titles)
    names = pc.sort_indices(pc.unique(events["member_id"]))
    members = pc.take(pc.unique(events["member_id"]), names)
    types, values = events["type"].to_pylist(), events["value"].to_pylist()
    return Interactions(
        vocabulary,
        len(members),
        _numbers(pc.index_in(events["member_id"], members), np.int32),
        _numbers(pc.index_in(events["item_id"], pa.array(vocabulary, pa.string())), np.int32),
        _numbers(events["event_time_ms"], np.int64),
        np.fromiter(map(strength, types, values), np.float32, len(events)),
        np.fromiter((event_type in ENGAGED_TYPES for event_type in types), np.bool_, len(events)),
    )


def meta_of(titles: Sequence[Title]) -> TitlesMeta:
    """Return the titles' genres and years as arrays."""
    return build_titles_meta([title.genres for title in titles], [title.year for title in titles])


def offset_ranges(records: pa.Table) -> list[OffsetRange]:
    """Return the runs of consecutive offsets in records ordered by (partition, epoch, offset); repeats count once."""
    if not len(records):
        return []
    partition, epoch, offset = (_numbers(records[name], np.int64) for name in ("partition", "epoch", "offset"))
    breaks = np.flatnonzero((np.diff(partition) != 0) | (np.diff(epoch) != 0) | (np.diff(offset) > 1)) + 1
    runs = zip([0, *breaks.tolist()], [*breaks.tolist(), len(records)], strict=True)
    return [
        OffsetRange(int(partition[a]), int(epoch[a]), int(offset[a]), int(offset[b - 1]), len(np.unique(offset[a:b])))
        for a, b in runs
    ]


def within_ranges(records: pa.Table, ranges: Sequence[OffsetRange]) -> pa.Table:
    """Return the records of the ranges."""
    partition, epoch, offset = (_numbers(records[name], np.int64) for name in ("partition", "epoch", "offset"))
    inside = np.zeros(len(records), bool)
    for part in ranges:
        inside |= (partition == part.partition) & (epoch == part.epoch) & (part.first <= offset) & (offset <= part.last)
    return records.filter(pa.array(inside))


def catalogue_address(titles: Sequence[Title]) -> str:
    """Return the sha256 over the titles' ids, years and genres, in order."""
    lines = ("\t".join((title.item_id, str(title.year), *title.genres)) for title in titles)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def content_address(events: pa.Table) -> str:
    """Return the sha256 over events in order: what happened, not where it is stored. Ids hold no control characters."""
    digest = hashlib.sha256()
    for name in ("event_id", "type", "member_id", "item_id"):
        digest.update("\n".join(events[name].to_pylist()).encode() + b"\0")
    digest.update(_numbers(events["event_time_ms"], np.int64).astype("<i8").tobytes())
    digest.update(_numbers(pc.fill_null(events["value"], float("nan")), np.float64).astype("<f8").tobytes())
    return digest.hexdigest()


def _first_deliveries(arrived: pa.Table) -> NDArray[np.int64]:
    """Return the rows that are not repeats, ascending. A repeat has the event id of an earlier record of its member.

    The member's key holds both in one partition, so "earlier" is the same for everyone who reads the log.
    """
    member = _numbers(arrived["member_id"].combine_chunks().dictionary_encode().indices, np.int64)
    event = _numbers(arrived["event_id"].combine_chunks().dictionary_encode().indices, np.int64)
    _, first = np.unique(member * (len(arrived) + 1) + event, return_index=True)
    return np.sort(first)


def _known(events: pa.Table, titles: Sequence[Title]) -> pa.Array:
    ids = pa.array([title.item_id for title in titles], pa.string())
    live_from = pa.array([title.live_from_ms for title in titles], pa.int64())
    live = pc.take(live_from, pc.index_in(events["item_id"], ids))
    return pc.fill_null(pc.less_equal(live, events["timestamp_ms"]), False)


def _before(events: pa.Table, until_ms: int | None) -> pa.Array:
    return pc.less(events["event_time_ms"], until_ms if until_ms is not None else np.iinfo(np.int64).max)


def _split_ms(time_ms: NDArray[np.int64], parameters: DatasetParameters) -> int:
    if parameters.split_ms is not None:
        return parameters.split_ms
    return int(time_ms[int(len(time_ms) * parameters.train_share)])


def _check_size(interactions: Interactions) -> None:
    titles = len(np.unique(interactions.title))
    for what, count, least in (
        ("member events of known titles", len(interactions), MIN_EVENTS),
        ("members", interactions.members, MIN_MEMBERS),
        ("titles with events", titles, MIN_TITLES),
    ):
        if count < least:
            raise FixRequest("warehouse", f"holds {count:,} {what}; training needs {least:,}: {HOW_TO_FILL}")


def _check_split(train_rows: int, rows: int, split_ms: int) -> None:
    if not 0 < train_rows < rows:
        side = "before" if train_rows == 0 else "after"
        raise FixRequest(
            "split_ms", f"there are no events {side} {split_ms}; choose another split, or load more events"
        )


def _count(mask: pa.Array) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _numbers(column: Any, dtype: Any) -> NDArray[Any]:
    return np.asarray(
        column.to_numpy(zero_copy_only=False) if isinstance(column, pa.Array) else column.to_numpy(), dtype
    )
