"""Kafka's default partitioner, so that any Kafka client's keyed messages land where ours do.

murmur2 as in org.apache.kafka.common.utils.Utils.murmur2 (Austin Appleby's 32-bit MurmurHash2, Kafka's fixed seed),
then toPositive (the sign bit cleared, not the absolute value), then modulo the partition count.
"""

from __future__ import annotations

from functools import lru_cache

_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_MASK = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF

CACHED_KEYS = 65_536
"""Hashes remembered by key: hashing a member id costs some microseconds in Python, looking it up a tenth of one."""

MAX_CACHED_KEY_BYTES = 128
"""Longer keys are hashed each time, so that the cache stays below about 16 MB whatever the keys are."""


def murmur2(key: bytes) -> int:
    """Return the 32-bit murmur2 hash of `key`, unsigned.

    >>> murmur2(b"kafka")
    3496464228
    """
    length = len(key)
    whole = length & ~3
    hashed = (_SEED ^ length) & _MASK
    for start in range(0, whole, 4):
        word = int.from_bytes(key[start : start + 4], "little") * _MULTIPLIER & _MASK
        word = (word ^ word >> 24) * _MULTIPLIER & _MASK
        hashed = (hashed * _MULTIPLIER & _MASK) ^ word
    if whole < length:
        hashed = (hashed ^ int.from_bytes(key[whole:], "little")) * _MULTIPLIER & _MASK
    hashed = (hashed ^ hashed >> 13) * _MULTIPLIER & _MASK
    return hashed ^ hashed >> 15


@lru_cache(maxsize=CACHED_KEYS)
def _remembered_hash(key: bytes) -> int:
    return murmur2(key) & _POSITIVE


def partition_for(key: bytes, count: int) -> int:
    """Return the partition, 0..count-1, of messages with `key` in a topic of `count` partitions.

    >>> partition_for(b"abc", 1000)
    107
    """
    if len(key) > MAX_CACHED_KEY_BYTES:
        return (murmur2(key) & _POSITIVE) % count
    return _remembered_hash(key) % count
