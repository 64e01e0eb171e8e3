"""Recent events: hashes of the last event ids, by which a client's retry is recognised."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, ClassVar

from streams.events import Event
from streams.features.hashes import HASH_BYTES
from streams.features.type_codes import ALL_TYPES


@dataclass(frozen=True)
class RecentEvents:
    """The hashes of the last `bound` event ids in order of arrival; the state is their bytes, one after another.

    Merging keeps the smallest hashes, for want of a common order; a member's events are all in one partition, so in
    practice the states that are merged are of different members' titles, which have no such memory.
    """

    bound: int
    version: ClassVar[int] = 1
    types: ClassVar[frozenset[str]] = ALL_TYPES
    state_type: ClassVar[Any] = bytearray

    _bytes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_bytes", self.bound * HASH_BYTES)

    def names(self, genres: tuple[str, ...]) -> list[str]:
        return []

    def initialize(self) -> bytearray:
        return bytearray()

    def add(self, state: bytearray, event_id: str) -> bool:
        """Return whether an event id is new, and remember it if so."""
        digest = blake2b(event_id.encode(), digest_size=HASH_BYTES).digest()
        at = state.find(digest)
        if at >= 0 and (at % HASH_BYTES == 0 or digest in _split(state)):
            return False
        state += digest
        if len(state) > self._bytes:
            del state[:HASH_BYTES]
        return True

    def update(self, state: bytearray, event: Event, genres: tuple[str, ...]) -> bytearray:
        self.add(state, event.event_id)
        return state

    def merge(self, left: bytearray, right: bytearray) -> bytearray:
        if not left or not right:
            return bytearray(left or right)
        return bytearray(b"".join(sorted({*_split(left), *_split(right)})[: self.bound]))

    def result(self, state: bytearray, now_ms: int) -> list[bytes]:
        """Return the hashes, the oldest first."""
        return _split(state)


def _split(state: bytearray) -> list[bytes]:
    return [bytes(state[at : at + HASH_BYTES]) for at in range(0, len(state), HASH_BYTES)]
