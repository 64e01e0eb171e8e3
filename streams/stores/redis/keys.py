"""How states lie in Redis: the names of keys, and which of them are on one server of a cluster.

    <prefix>:state:<kind>:{<tag>}:<key>    the state as it is, its position first
    <prefix>:pages:<kind>:{<tag>}:<key>    a hash of the pages made from it, which every write of the state drops
    <prefix>:index:<kind>:{<tag>}          a set of the keys in the bucket, so that a scan reads its own kind only

Only what is between the first braces (the tag) decides on the slot in a cluster; neither prefix nor kind holds braces,
so a key may hold any bytes. There is a tag for each of BUCKETS buckets: a batch of a thousand states is some hundred
script calls on a cluster, not a thousand, and an index can be kept in the same script as the state.
"""

from __future__ import annotations

import re
from binascii import crc_hqx
from collections.abc import Iterable
from typing import Final

from streams.errors import FixRequest

SLOTS: Final = 16_384
"""Hash slots of any Redis Cluster."""

BUCKETS: Final = 256
"""States can be spread over so many servers at most. It is part of what is stored: with another number nothing would be
found again."""

_SLOTS_A_BUCKET: Final = SLOTS // BUCKETS
_KIND: Final = re.compile(r"[^{}:\s]+")


def slot_of(tag: bytes) -> int:
    """Return the hash slot of a tag (CRC16 as in the cluster specification).

    >>> slot_of(b"123456789")
    12739
    """
    return crc_hqx(tag, 0) % SLOTS


def bucket_of(key: bytes) -> int:
    """Return the bucket of a state's key, from 0 to BUCKETS - 1."""
    return crc_hqx(key, 0) % SLOTS // _SLOTS_A_BUCKET


def _tags() -> tuple[bytes, ...]:
    """Return for each bucket the smallest number whose slot lies in the bucket's share of slots: all shares are equal,
    so a cluster whose slots are divided evenly has its states divided evenly."""
    tags: dict[int, bytes] = {}
    number = 0
    while len(tags) < BUCKETS:
        tag = b"%d" % number
        tags.setdefault(bucket_of(tag), tag)
        number += 1
    return tuple(tags[bucket] for bucket in range(BUCKETS))


TAGS: Final = _tags()


class Keys:
    """The names of one kind's keys. Raises FixRequest for a kind that cannot be part of a name."""

    def __init__(self, prefix: str, kind: str) -> None:
        if not _KIND.fullmatch(kind):
            raise FixRequest("kind", f"{kind!r} is empty or has braces, colons or spaces in it")
        self.state_prefix = f"{prefix}:state:{kind}:".encode()
        """Of the names of all states of the kind, and of no others."""
        self._states = _heads(self.state_prefix)
        self._pages = _heads(f"{prefix}:pages:{kind}:".encode())
        self.indexes = tuple(f"{prefix}:index:{kind}:{{".encode() + tag + b"}" for tag in TAGS)
        """The name of each bucket's index."""

    def state(self, key: bytes) -> bytes:
        """Return the name of a state."""
        return self._states[bucket_of(key)] + key

    def pages(self, key: bytes) -> bytes:
        """Return the name of the hash of the pages made from a state."""
        return self._pages[bucket_of(key)] + key

    def key(self, state: bytes) -> bytes | None:
        """Return the key in the name of a state, None if it is the name of something else."""
        if not state.startswith(self.state_prefix):
            return None
        _, separator, key = state.partition(b"}:")
        return key if separator else None


def by_bucket(keys: Iterable[bytes]) -> dict[int, list[int]]:
    """Return the places of keys, in order, by the bucket that each is in."""
    places: dict[int, list[int]] = {}
    for number, key in enumerate(keys):
        places.setdefault(bucket_of(key), []).append(number)
    return places


def _heads(start: bytes) -> tuple[bytes, ...]:
    return tuple(start + b"{" + tag + b"}:" for tag in TAGS)
