"""The hot store on Redis: a state is a string, written by a script that compares positions.

A write that times out may have been made or not. That is harmless: made again, it is refused by its own position.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final

from streams.stores.entries import check_entries
from streams.stores.protocol import POSITION_BYTES, StateEntry, version_of
from streams.stores.redis.address import Address
from streams.stores.redis.keys import BUCKETS, Keys, bucket_of, by_bucket
from streams.stores.redis.scripts import DROP, HEADS, PUT
from streams.stores.redis.servers import Command, Request, Servers

READ_CHUNK: Final = 500
"""States read by one command. A server answers nobody else meanwhile: some milliseconds, with states of 25 kB."""

WRITE_CHUNK_ENTRIES: Final = 250
WRITE_CHUNK_BYTES: Final = 256 << 10
"""What one script call writes at most, unless it is one large state. Scripts copy what they are given: in chunks that
fit a processor's cache, a thousand states of 25 kB take a third of the time that they take in chunks of 4 MB."""

CLUSTER_CHUNK_ENTRIES: Final = 1_000
CLUSTER_CHUNK_BYTES: Final = 4 << 20
"""What a cluster is sent at a time, in one script call a bucket: those are small by themselves."""

SCAN_BUCKETS: Final = 64
"""Buckets whose indexes a scan reads side by side: it holds their keys, and makes four round trips at least."""

SCAN_CHUNK: Final = 250
"""States that a scan holds in memory."""


class RedisHotStore:
    """A StateStore on one Redis server, or on a cluster, where each bucket's states are written on their own.

    `put` is atomic by state. Every call may raise TryAgain, `put` SlowDown when the server is full (maxmemory).
    """

    def __init__(self, address: Address, timeout_s: float, connections: int) -> None:
        self._prefix = address.prefix
        self._servers = Servers(address, timeout_s, connections)
        self._chunk = (
            (CLUSTER_CHUNK_ENTRIES, CLUSTER_CHUNK_BYTES)
            if address.is_cluster
            else (WRITE_CHUNK_ENTRIES, WRITE_CHUNK_BYTES)
        )
        self._keys: dict[str, Keys] = {}

    def get(self, kind: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values in the order of the keys, None where absent or deleted; one MGET up to READ_CHUNK keys."""
        stored = self._read(b"MGET", (), kind, keys)
        return [value if value is not None and len(value) > POSITION_BYTES else None for value in stored]

    def positions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return the position of each key's state (a tombstone's too), NOTHING where there never was one."""
        return [version >> 1 for version in self.versions(kind, keys)]

    def versions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        """Return `version_of` each key's state."""
        return [version_of(head or None) for head in self._read(b"EVAL_RO", (HEADS,), kind, keys)]

    def put(self, kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        """Write each entry that is newer than what is stored, a chunk of them in one script call."""
        check_entries(entries)
        names = self._names(kind)
        written = [False] * len(entries)
        for chunk in _chunks(entries, *self._chunk):
            groups = self._groups([entries[place].key for place in chunk])
            places = [[chunk[number] for number in group] for _, group in groups]
            requests = [
                Request(bucket, _script(PUT, names, [entries[place].key for place in some], _flat(entries, some)))
                for (bucket, _), some in zip(groups, places, strict=True)
            ]
            for some, reply in zip(places, self._servers.run(requests), strict=True):
                for place, flag in zip(some, reply, strict=True):
                    written[place] = bool(flag)
        return written

    def scan(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of every state of a kind in any order; it reads no states of other kinds."""
        keys = self._all_keys(self._names(kind))
        while chunk := list(islice(keys, SCAN_CHUNK)):
            for key, value in zip(chunk, self.get(kind, chunk), strict=True):
                if value is not None:
                    yield key, value

    def drop(self, kind: str, limit: int) -> int:
        """Delete up to `limit` states of a kind for good, with their pages; return how many."""
        names = self._names(kind)
        keys = list(islice(self._all_keys(names), max(limit, 0)))
        dropped = 0
        for start in range(0, len(keys), READ_CHUNK):
            chunk = keys[start : start + READ_CHUNK]
            groups = [(bucket, [chunk[number] for number in group]) for bucket, group in self._groups(chunk)]
            requests = [Request(bucket, _script(DROP, names, some, some)) for bucket, some in groups]
            dropped += sum(self._servers.run(requests))
        return dropped

    def close(self) -> None:
        """Close all connections; later calls raise TryAgain."""
        self._servers.close()

    def _names(self, kind: str) -> Keys:
        names = self._keys.get(kind)
        if names is None:
            names = self._keys[kind] = Keys(self._prefix, kind)
        return names

    def _groups(self, keys: Sequence[bytes]) -> list[tuple[int, list[int]]]:
        """Return the places of the keys that one command may name, and a bucket of theirs."""
        if self._servers.is_cluster:
            return list(by_bucket(keys).items())
        return [(bucket_of(keys[0]), list(range(len(keys))))] if keys else []

    def _read(self, command: bytes, script: tuple[bytes, ...], kind: str, keys: Sequence[bytes]) -> list[Any]:
        """Return what a command, or a script of one reply a key, says of each key's state."""
        names = self._names(kind)
        found: list[Any] = []
        for start in range(0, len(keys), READ_CHUNK):
            chunk = keys[start : start + READ_CHUNK]
            groups = self._groups(chunk)
            requests = [
                Request(bucket, _read_command(command, script, [names.state(chunk[number]) for number in group]))
                for bucket, group in groups
            ]
            replies: list[Any] = [None] * len(chunk)
            for (_, group), reply in zip(groups, self._servers.run(requests), strict=True):
                for number, one in zip(group, reply, strict=True):
                    replies[number] = one
            found += replies
        return found

    def _all_keys(self, names: Keys) -> Iterator[bytes]:
        """Yield every key of a kind once, from the indexes of some buckets at a time."""
        for first in range(0, BUCKETS, SCAN_BUCKETS):
            cursors = dict.fromkeys(range(first, first + SCAN_BUCKETS), b"0")
            seen: set[bytes] = set()  # SSCAN may name a key twice
            while cursors:
                requests = [
                    Request(bucket, (b"SSCAN", names.indexes[bucket], cursor, b"COUNT", SCAN_CHUNK))
                    for bucket, cursor in cursors.items()
                ]
                replies = dict(zip(cursors, self._servers.run(requests), strict=True))
                new = set(chain.from_iterable(keys for _, keys in replies.values())) - seen
                seen |= new
                yield from new
                cursors = {bucket: cursor for bucket, (cursor, _) in replies.items() if int(cursor)}


def _chunks(entries: Sequence[StateEntry], most_entries: int, most_bytes: int) -> Iterator[list[int]]:
    """Yield the places of the entries, in order, in chunks within the bounds."""
    chunk: list[int] = []
    size = 0
    for place, (key, value) in enumerate(entries):
        size += len(key) + len(value)
        if chunk and (size > most_bytes or len(chunk) == most_entries):
            yield chunk
            chunk, size = [], len(key) + len(value)
        chunk.append(place)
    if chunk:
        yield chunk


def _script(script: bytes, names: Keys, keys: Sequence[bytes], arguments: Iterable[bytes]) -> Command:
    """Return a call of a script on the state, the pages and the index of each key."""
    of_keys = ((names.state(key), names.pages(key), names.indexes[bucket_of(key)]) for key in keys)
    return (b"EVAL", script, 3 * len(keys), *chain.from_iterable(of_keys), *arguments)


def _flat(entries: Sequence[StateEntry], places: Iterable[int]) -> Iterator[bytes]:
    return chain.from_iterable(entries[place] for place in places)


def _read_command(command: bytes, script: tuple[bytes, ...], states: Sequence[bytes]) -> Command:
    return (command, *script, len(states), *states) if script else (command, *states)
