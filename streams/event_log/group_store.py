"""Consumer groups and their commits, in one LMDB environment; each change is one transaction over all processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from streams.errors import Fenced
from streams.event_log.environments import EnvironmentOptions, Handle
from streams.event_log.groups import Group, expired
from streams.event_log.liveness import is_dead
from streams.event_log.protocol import TopicPartition

MAX_BYTES: Final = 64 << 20
"""Room for some hundred thousand commits; a group's members and leases take some kilobytes."""

_GROUPS: Final = b"groups"
_COMMITS: Final = b"commits"


class Commit(msgspec.Struct, frozen=True, array_like=True):
    """A group's place in a partition. offset: the next to read, in that epoch. committed_ms: when (Unix, ms)."""

    epoch: int
    offset: int
    committed_ms: int


_commits: Final = msgspec.msgpack.Decoder(Commit)
_groups: Final = msgspec.msgpack.Decoder(Group)
"""Made here, once: msgspec crashes the process where two threads meet a type for the first time at once."""


class GroupStore:
    """Groups by name, commits by partition and group. Thread-safe; several processes may use the same files."""

    def __init__(self, path: Path, *, sync: bool) -> None:
        self._handle = Handle(path, EnvironmentOptions(MAX_BYTES, (_GROUPS, _COMMITS), sync))

    def create(self) -> None:
        """Make the files, if they are not there."""
        self._handle.create()

    def close(self) -> None:
        """Let go of the files."""
        self._handle.close()

    def read(self, name: str) -> Group:
        """Return a group; one without members if there never was any."""
        with self._handle.use() as opened, opened.env.begin(db=opened.databases[_GROUPS]) as transaction:
            return _decode_group(transaction.get(name.encode()))

    def change(self, name: str, transition: Callable[[Group], Group]) -> Group:
        """Put a group through a transition, one process at a time; return what it is now."""
        with self._handle.use() as opened, opened.env.begin(write=True, db=opened.databases[_GROUPS]) as transaction:
            group = _decode_group(transaction.get(name.encode()))
            changed = transition(group)
            if changed != group:
                transaction.put(name.encode(), msgspec.msgpack.encode(changed))
            return changed

    def commit(self, name: str, member_id: str, commits: Mapping[TopicPartition, Commit]) -> None:
        """Record commits, all or none. One behind what is stored changes nothing.

        Raises Fenced unless the member holds every one of the partitions."""
        with self._handle.use() as opened, opened.env.begin(write=True, db=opened.databases[_COMMITS]) as transaction:
            group = _decode_group(transaction.get(name.encode(), db=opened.databases[_GROUPS]))
            lost = commits.keys() - group.owned_by(member_id)
            if lost:
                raise Fenced(f"{name} has given {', '.join(f'{t}/{p}' for t, p in sorted(lost))} to another member")
            for partition, commit in commits.items():
                key = _commit_key(partition, name)
                stored = _decode_commit(transaction.get(key))
                if stored is None or (commit.epoch, commit.offset) >= (stored.epoch, stored.offset):
                    transaction.put(key, msgspec.msgpack.encode(commit))

    def committed(self, name: str, partition: TopicPartition) -> Commit | None:
        """Return a group's commit in a partition, None if it never committed there."""
        with self._handle.use() as opened, opened.env.begin(db=opened.databases[_COMMITS]) as transaction:
            return _decode_commit(transaction.get(_commit_key(partition, name)))

    def commits_in(self, partition: TopicPartition) -> dict[str, Commit]:
        """Return every group's commit in a partition, by group."""
        prefix = _commit_key(partition, "")
        found = {}
        with self._handle.use() as opened, opened.env.begin(db=opened.databases[_COMMITS]) as transaction:
            cursor = transaction.cursor()
            cursor.set_range(prefix)
            for key, value in cursor:
                if not key.startswith(prefix):
                    break
                found[key[len(prefix) :].decode()] = _commits.decode(value)
        return found

    def reading(self, topic: str, now_ms: int) -> set[str]:
        """Return the groups of which a live member subscribes to the topic; now_ms: monotonic."""
        with self._handle.use() as opened, opened.env.begin(db=opened.databases[_GROUPS]) as transaction:
            groups = {key.decode(): _decode_group(value) for key, value in transaction.cursor()}
        return {name for name, group in groups.items() if _is_read_by(group, topic, now_ms)}


def _is_read_by(group: Group, topic: str, now_ms: int) -> bool:
    late = expired(group, now_ms)
    return any(
        topic in member.topics and member_id not in late and not is_dead(member.process)
        for member_id, member in group.members.items()
    )


def _commit_key(partition: TopicPartition, name: str) -> bytes:
    return f"{partition.topic}/{partition.partition}/{name}".encode()


def _decode_group(stored: bytes | None) -> Group:
    return _groups.decode(stored) if stored is not None else Group()


def _decode_commit(stored: bytes | None) -> Commit | None:
    return _commits.decode(stored) if stored is not None else None
