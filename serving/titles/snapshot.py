"""A snapshot: the live features of all titles at one time, immutable, named by the sha256 of its stored bytes."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.errors import Corrupt

FORMAT: Final = 1
COMPRESSION_LEVEL: Final = 1
"""Features are mostly zeros: the fastest level takes off most, without the interpreter's lock."""
MAX_SNAPSHOT_BYTES: Final = 1 << 30
"""A stored snapshot that would unpack to more than this is not one of ours."""


class TitleOrder:
    """The titles of a snapshot in catalogue order, shared by all snapshots of one catalogue."""

    def __init__(self, item_ids: Sequence[str]) -> None:
        self.item_ids: tuple[str, ...] = tuple(item_ids)
        self.rows: Mapping[str, int] = {item_id: row for row, item_id in enumerate(self.item_ids)}

    def __len__(self) -> int:
        return len(self.item_ids)


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    """A snapshot's stored form; one with a `base` holds only the rows in which it differs from that."""

    format: int
    as_of_ms: int
    base: str | None
    names: list[str]
    item_ids: list[str]
    rows: bytes
    values: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Stored).decode


@dataclass(frozen=True, eq=False)
class TitleSnapshot:
    """Live title features. features: float32 [T, F], read-only, rows in `order`, columns named by `names`.

    as_of_ms: the time (Unix, ms) that decays, windows and ages are computed at; rows that changed since may be newer,
    up to the board's renewal interval. base: the full snapshot to which the stored form of this one is a difference.
    """

    order: TitleOrder
    names: tuple[str, ...]
    features: NDArray[np.float32]
    as_of_ms: int
    base: TitleSnapshot | None = None

    def __post_init__(self) -> None:
        if self.features.shape != (len(self.order), len(self.names)) or self.features.dtype != np.float32:
            raise ValueError(f"features are {self.features.dtype} {self.features.shape}")
        self.features.flags.writeable = False

    @property
    def item_ids(self) -> tuple[str, ...]:
        """The titles, in the order of the rows."""
        return self.order.item_ids

    @cached_property
    def address(self) -> str:
        """The content address: sha256 in hex of `to_bytes()`."""
        return hashlib.sha256(self._encoded).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the stored form, compressed."""
        return self._encoded

    @classmethod
    def from_bytes(cls, raw: bytes, base_of: Callable[[str], TitleSnapshot] | None = None) -> TitleSnapshot:
        """Return the snapshot in its stored form; `base_of` finds the one it is a difference to by address.

        Raises Corrupt if the bytes are no snapshot, or a difference without a way to find its base.
        """
        stored = _read(raw)
        values = _array(stored.values, np.dtype("<f4")).reshape(-1, max(len(stored.names), 1))[:, : len(stored.names)]
        if stored.base is None:
            if len(values) != len(stored.item_ids) and stored.names:
                raise Corrupt("a title snapshot has another number of rows than of titles")
            values = values.reshape(len(stored.item_ids), len(stored.names))
            return cls(TitleOrder(stored.item_ids), tuple(stored.names), values.astype(np.float32), stored.as_of_ms)
        if base_of is None:
            raise Corrupt(f"a title snapshot is a difference to {stored.base[:12]}, which was not given")
        return _patched(stored, values, base_of(stored.base))

    @cached_property
    def column_of(self) -> Mapping[str, int]:
        """The column of each feature, by name."""
        return {name: column for column, name in enumerate(self.names)}

    def columns(self, names: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [T, len(names)], C-contiguous; features that are not there are 0."""
        chosen = np.zeros((len(self.order), len(names)), np.float32)
        for place, name in enumerate(names):
            column = self.column_of.get(name)
            if column is not None:
                chosen[:, place] = self.features[:, column]
        return chosen

    def column(self, name: str) -> NDArray[np.float32]:
        """Return one feature of every title, float32 [T]; zeros if it is not there."""
        column = self.column_of.get(name)
        return np.zeros(len(self.order), np.float32) if column is None else self.features[:, column]

    @cached_property
    def _encoded(self) -> bytes:
        base = self.base
        if base is None:
            rows, values, item_ids = b"", self.features, list(self.item_ids)
        else:
            changed = np.nonzero((self.features.view(np.uint32) != base.features.view(np.uint32)).any(axis=1))[0]
            rows, values, item_ids = changed.astype("<i4").tobytes(), self.features[changed], []
        stored = _Stored(
            FORMAT,
            self.as_of_ms,
            None if base is None else base.address,
            list(self.names),
            item_ids,
            rows,
            values.astype("<f4").tobytes(),
        )
        return zlib.compress(_encode(stored), COMPRESSION_LEVEL)


def empty_snapshot(item_ids: Sequence[str], names: Sequence[str], as_of_ms: int) -> TitleSnapshot:
    """Return a snapshot of titles without any event: all features 0."""
    return TitleSnapshot(
        TitleOrder(item_ids), tuple(names), np.zeros((len(item_ids), len(names)), np.float32), as_of_ms
    )


def _read(raw: bytes) -> _Stored:
    try:
        inflater = zlib.decompressobj()
        stored = _decode(inflater.decompress(raw, MAX_SNAPSHOT_BYTES))
    except (zlib.error, msgspec.DecodeError) as error:
        raise Corrupt(f"not a title snapshot: {error}") from error
    if stored.format != FORMAT:
        raise Corrupt(f"title snapshot has format {stored.format}; this code reads {FORMAT}")
    return stored


def _array(raw: bytes, dtype: np.dtype[np.float32] | np.dtype[np.int32]) -> NDArray[np.float32]:
    try:
        return np.frombuffer(raw, dtype)
    except ValueError as error:
        raise Corrupt(f"title snapshot: {error}") from error


def _patched(stored: _Stored, values: NDArray[np.float32], base: TitleSnapshot) -> TitleSnapshot:
    rows = _array(stored.rows, np.dtype("<i4"))
    if tuple(stored.names) != base.names or len(rows) != len(values):
        raise Corrupt("a title snapshot does not fit the one it is a difference to")
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(base.order)):
        raise Corrupt("a title snapshot changes titles that its base does not have")
    features = base.features.copy()
    features[rows] = values
    return TitleSnapshot(base.order, base.names, features, stored.as_of_ms, base)
