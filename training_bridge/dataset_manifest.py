"""A dataset's manifest: which log records a model was trained on, and how they were split.

Its canonical JSON is a blob, and the blob's sha256 is the dataset's content address: the same records, catalogue,
parameters and code give the same address, on any machine and at any time.
"""

from __future__ import annotations

from typing import Final

import msgspec

from streams.errors import Corrupt, FixRequest

FORMAT: Final = 1
MIN_TRAIN_SHARE: Final = 0.1
MAX_TRAIN_SHARE: Final = 0.99
MAX_EVENTS: Final = 5_000_000
"""The newest records that a dataset takes in: about 2 GB while it is sorted, what a training machine surely has."""


class DatasetParameters(msgspec.Struct, frozen=True):
    """What a dataset may vary. The split is at `split_ms` (Unix, ms) if given, else at the time of the event after
    `train_share` of all events. until_ms: events from then on are left out (None: none are)."""

    train_share: float = 0.8
    split_ms: int | None = None
    until_ms: int | None = None
    max_events: int = MAX_EVENTS

    def check(self) -> None:
        """Raise FixRequest naming the parameter that is out of its bounds."""
        if not MIN_TRAIN_SHARE <= self.train_share <= MAX_TRAIN_SHARE:
            raise FixRequest("train_share", f"must be between {MIN_TRAIN_SHARE} and {MAX_TRAIN_SHARE}")
        if not 1 <= self.max_events <= MAX_EVENTS:
            raise FixRequest("max_events", f"must be between 1 and {MAX_EVENTS:,}")


class OffsetRange(msgspec.Struct, frozen=True, order=True):
    """Records of one partition, both ends included; rows: how many of them there are."""

    partition: int
    epoch: int
    first: int
    last: int
    rows: int


class DatasetManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a dataset holds.

    ranges: ascending, neighbours joined. rows: events in the dataset; duplicates, unknown_titles, untitled (searches)
    and after_until: records of the ranges that are not in it. train_rows: events before split_ms. first_ms, last_ms:
    event times. catalogue, content: sha256 over titles, and over events in order. code: sha256 over what made it.
    """

    format: int = FORMAT
    topic: str
    ranges: list[OffsetRange]
    rows: int
    duplicates: int
    unknown_titles: int
    untitled: int
    after_until: int
    members: int
    titles: int
    first_ms: int
    last_ms: int
    split_ms: int
    train_rows: int
    parameters: DatasetParameters
    catalogue: str
    content: str
    code: str


def encode_dataset_manifest(manifest: DatasetManifest) -> bytes:
    """Return the canonical JSON of a manifest; its sha256 is the dataset's address."""
    return msgspec.json.encode(manifest, order="deterministic")


def decode_dataset_manifest(raw: bytes) -> DatasetManifest:
    """Return the manifest in its JSON form. Raises Corrupt if it is not one, or of a format this code does not know."""
    try:
        manifest = msgspec.json.decode(raw, type=DatasetManifest)
    except msgspec.DecodeError as error:
        raise Corrupt(f"dataset manifest: {error}") from None
    if manifest.format != FORMAT:
        raise Corrupt(f"dataset manifest has format {manifest.format}; this code reads {FORMAT}")
    return manifest
