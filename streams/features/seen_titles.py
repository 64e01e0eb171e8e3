"""Seen titles: what a member has played, finished, rated, liked, disliked or skipped, as hashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from streams.events import Event
from streams.features.hashes import HASH_BYTES, title_hash

RECORD: Final = Struct("<I8s")
"""Event time in seconds since 1970 (32 bits last until 2106) and the hash of the item id."""

_COLUMNS: Final = np.dtype([("seconds", "<u4"), ("hash", "<u8")])

SLACK: Final = 512
"""How many records over the bound a state may have before it is compacted, so that most events only append."""


class TitleHashes:
    """The hashes of a catalogue's titles, sorted, to look seen titles up in. Build it once for a catalogue."""

    def __init__(self, item_ids: Sequence[str]) -> None:
        hashes = np.frombuffer(b"".join(map(title_hash, item_ids)), dtype="<u8")
        self._order: NDArray[np.intp] = np.argsort(hashes)
        self._sorted: NDArray[np.uint64] = hashes[self._order]

    def indexes(self, hashes: NDArray[np.uint64]) -> NDArray[np.intp]:
        """Return the indexes of the titles with these hashes, in their order; unknown ones are left out."""
        if not len(self._sorted):
            return np.empty(0, dtype=np.intp)
        at = np.searchsorted(self._sorted, hashes)
        at[at == len(self._sorted)] = 0
        found: NDArray[np.intp] = self._order[at[self._sorted[at] == hashes]]
        return found


class SeenTitles:
    """The titles that a member has seen. Hashes are kept: it can say whether a title is among them, not list ids."""

    def __init__(self, hashes: NDArray[np.uint64]) -> None:
        self.hashes = hashes

    def __contains__(self, item_id: object) -> bool:
        if not isinstance(item_id, str):
            return False
        return bool((self.hashes == np.frombuffer(title_hash(item_id), dtype="<u8")[0]).any())

    def __len__(self) -> int:
        return len(np.unique(self.hashes))

    def indexes(self, titles: TitleHashes) -> NDArray[np.intp]:
        """Return the indexes of the seen titles in a catalogue (some perhaps more than once)."""
        return titles.indexes(self.hashes)


@dataclass(frozen=True)
class Seen:
    """The `bound` titles seen last; up to SLACK records more before the oldest are dropped.

    The state is records in order of arrival, one after another; a title may have several until the state is compacted.
    """

    counted: tuple[str, ...]
    bound: int
    version: ClassVar[int] = 1
    state_type: ClassVar[Any] = bytearray
    _most_bytes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_most_bytes", (self.bound + SLACK) * RECORD.size)

    @property
    def types(self) -> frozenset[str]:
        return frozenset(self.counted)

    def names(self, genres: tuple[str, ...]) -> list[str]:
        return []

    def initialize(self) -> bytearray:
        return bytearray()

    def update(self, state: bytearray, event: Event, genres: tuple[str, ...]) -> bytearray:
        digest = title_hash(event.item_id)
        record = _pack_record(event.event_time_ms // 1000, digest)
        if state.endswith(digest):
            if record[:-HASH_BYTES][::-1] > state[-RECORD.size : -HASH_BYTES][::-1]:
                state[-RECORD.size :] = record
            return state
        state += record
        if len(state) > self._most_bytes:
            return _compact(state, self.bound)
        return state

    def merge(self, left: bytearray, right: bytearray) -> bytearray:
        if not left or not right:
            return bytearray(left or right)
        return _compact(left + right, self.bound)

    def result(self, state: bytearray, now_ms: int) -> list[SeenTitles]:
        """Return one SeenTitles."""
        return [SeenTitles(np.ascontiguousarray(_records(state)["hash"]))]


_pack_record = RECORD.pack


def _records(state: bytearray) -> NDArray[np.void]:
    whole = len(state) // RECORD.size * RECORD.size
    return np.frombuffer(bytes(state[:whole]), dtype=_COLUMNS)


def _compact(state: bytearray, bound: int) -> bytearray:
    """Return the latest record of each title, by time, then hash; the newest `bound` of them."""
    records = _records(state)
    newest_first = records[np.lexsort((records["hash"], records["seconds"]))[::-1]]
    _, latest = np.unique(newest_first["hash"], return_index=True)
    return bytearray(newest_first[np.sort(latest)[:bound][::-1]].tobytes())
