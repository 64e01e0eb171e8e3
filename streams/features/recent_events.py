"""Recent events: hashes of the last event ids, by which a client's retry is recognised."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, ClassVar

import msgspec

from streams.events import Event
from streams.features.hashes import HASH_BYTES
from streams.features.type_codes import ALL_TYPES

_REST_BYTES = HASH_BYTES - 1


class RecentState(msgspec.Struct, array_like=True, gc=False):
    """Hashes in order of arrival, as columns: the first byte of each, and the rest of each, one after another.

    A search for one byte runs at the speed of memory, and what it finds by chance is one entry in 256.
    """

    firsts: bytearray
    rests: bytearray

    def __post_init__(self) -> None:
        if len(self.firsts) * _REST_BYTES != len(self.rests):
            raise ValueError("hash columns differ in length")


@dataclass(frozen=True)
class RecentEvents:
    """The hashes of the last `bound` event ids.

    Merging keeps the smallest hashes, for want of a common order. A member's events are all in one partition, so states
    of one member never need it.
    """

    bound: int
    version: ClassVar[int] = 1
    types: ClassVar[frozenset[str]] = ALL_TYPES
    state_type: ClassVar[Any] = RecentState

    def names(self, genres: tuple[str, ...]) -> list[str]:
        return []

    def initialize(self) -> RecentState:
        return RecentState(bytearray(), bytearray())

    def add(self, state: RecentState, event_id: str) -> bool:
        """Return whether an event id is new, and remember it if so."""
        digest = blake2b(event_id.encode(), digest_size=HASH_BYTES).digest()  # `id_hash`, without the call
        first, rest = digest[0], digest[1:]
        firsts, rests = state.firsts, state.rests
        at = firsts.find(first)
        while at >= 0:
            if rests[at * _REST_BYTES : (at + 1) * _REST_BYTES] == rest:
                return False
            at = firsts.find(first, at + 1)
        firsts.append(first)
        rests += rest
        if len(firsts) > self.bound:
            del firsts[0], rests[:_REST_BYTES]
        return True

    def update(self, state: RecentState, event: Event, genres: tuple[str, ...]) -> RecentState:
        self.add(state, event.event_id)
        return state

    def merge(self, left: RecentState, right: RecentState) -> RecentState:
        if not left.firsts or not right.firsts:
            return _state_of(_hashes(left) or _hashes(right))
        return _state_of(sorted({*_hashes(left), *_hashes(right)})[: self.bound])

    def result(self, state: RecentState, now_ms: int) -> list[bytes]:
        """Return the hashes, the oldest first."""
        return _hashes(state)


def _hashes(state: RecentState) -> list[bytes]:
    rests = bytes(state.rests)
    return [
        bytes([first]) + rests[place * _REST_BYTES : (place + 1) * _REST_BYTES]
        for place, first in enumerate(state.firsts)
    ]


def _state_of(hashes: list[bytes]) -> RecentState:
    return RecentState(bytearray(digest[0] for digest in hashes), bytearray(b"".join(digest[1:] for digest in hashes)))
