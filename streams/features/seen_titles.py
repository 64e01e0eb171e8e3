"""Seen titles: what a member has played, finished, rated, liked, disliked or skipped, as hashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.events import Event
from streams.features.hashes import HASH_BYTES, title_hash

SECONDS_BYTES: Final = 4
"""Seconds since 1970 in 32 bits last until 2106."""

SLACK: Final = 512
"""How many records over the bound a state may have before it is compacted, so that most events only append."""


class SeenState(msgspec.Struct, array_like=True, gc=False):
    """Records in order of arrival, as columns of bytes (little-endian): event time in seconds, hash of the item id.

    A title may have several records until the state is compacted.
    """

    seconds: bytearray
    hashes: bytearray

    def __post_init__(self) -> None:
        if len(self.seconds) * HASH_BYTES != len(self.hashes) * SECONDS_BYTES or len(self.hashes) % HASH_BYTES:
            raise ValueError("seen titles' columns differ in length")


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
    """The titles that a member has seen. Only hashes are kept, so it can say whether a title is among them, not list ids."""

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
    """The `bound` titles seen last; up to SLACK records more before the oldest are dropped."""

    counted: tuple[str, ...]
    bound: int
    version: ClassVar[int] = 1
    state_type: ClassVar[Any] = SeenState

    @property
    def types(self) -> frozenset[str]:
        return frozenset(self.counted)

    def names(self, genres: tuple[str, ...]) -> list[str]:
        return []

    def initialize(self) -> SeenState:
        return SeenState(bytearray(), bytearray())

    def update(self, state: SeenState, event: Event, genres: tuple[str, ...]) -> SeenState:
        digest = title_hash(event.item_id)
        hashes = state.hashes
        seconds = (event.event_time_ms // 1000).to_bytes(SECONDS_BYTES, "little")
        if hashes.endswith(digest):
            if event.event_time_ms // 1000 > int.from_bytes(state.seconds[-SECONDS_BYTES:], "little"):
                state.seconds[-SECONDS_BYTES:] = seconds
            return state
        hashes += digest
        state.seconds += seconds
        if len(hashes) > (self.bound + SLACK) * HASH_BYTES:
            return _compact(state.seconds, hashes, self.bound)
        return state

    def merge(self, left: SeenState, right: SeenState) -> SeenState:
        if not left.hashes or not right.hashes:
            one = left if left.hashes else right
            return SeenState(bytearray(one.seconds), bytearray(one.hashes))
        return _compact(left.seconds + right.seconds, left.hashes + right.hashes, self.bound)

    def result(self, state: SeenState, now_ms: int) -> list[SeenTitles]:
        """Return one SeenTitles."""
        return [SeenTitles(np.frombuffer(bytes(state.hashes), dtype="<u8"))]


def _compact(seconds: bytearray, hashes: bytearray, bound: int) -> SeenState:
    """Return the latest record of each title, by time, then hash, the newest `bound` of them."""
    times = np.frombuffer(bytes(seconds), dtype="<u4")
    ids = np.frombuffer(bytes(hashes), dtype="<u8")
    order = np.lexsort((ids, times))
    _, newest_first = np.unique(ids[order][::-1], return_index=True)
    kept = order[np.sort(len(order) - 1 - newest_first)][-bound:]
    return SeenState(bytearray(times[kept].tobytes()), bytearray(ids[kept].tobytes()))
