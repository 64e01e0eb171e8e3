"""Profiles, and members by when they were last seen. No write depends on the order in which writes arrive.

Every cell of a profile carries a timestamp that makes the right value win: last_seen_ms and the context that of when
the member was last seen, first_seen_ms one that falls as time grows, so that the earlier one wins. A deleted cell would
then hide every later first_seen_ms, so a timestamp has the member's life above the time: 0, and one more each time that
the member was forgotten. Forgetting ends a life with all that is ever written as of it.

A member is listed in the week and slot (a minute) of when it was last seen. Who puts a profile reads the old one,
and takes the member out of its old slot. Two at the same time may leave a slot behind: a reader meets the newest first,
and passes over the others. That is also why a deleted row which comes back does no harm.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple
from zlib import crc32

from cassandra.query import UNSET_VALUE

from streams.stores.cassandra.batching import Write, in_batches
from streams.stores.cassandra.connection import READ, WRITE, CassandraConnection, rows_of
from streams.stores.cassandra.errors import translated
from streams.stores.protocol import Profile

WEEK_MS: Final = 7 * 86_400_000
SLOT_MS: Final = 60_000
"""A slot is read whole; a member that stays leaves a deleted row in each that it was seen in, for gc_grace."""

SHARDS: Final = 8
"""Partitions of a week. Of ten million members that were all last seen in one week, each holds 75 MB."""

PAGE_ROWS: Final = 1_000
MEMBERS_PER_READ: Final = 32
_LIFE_SHIFT: Final = 44
"""2**44 ms are 557 years."""

_LIFE_TIMES: Final = (1 << _LIFE_SHIFT) - 1
_ROW_BYTES: Final = 100

_SELECT: Final = """
SELECT member_id, life, country, device, first_seen_ms, last_seen_ms FROM {keyspace}.profiles WHERE member_id IN ?
"""
_PUT_NEWEST: Final = """
INSERT INTO {keyspace}.profiles (member_id, country, device, last_seen_ms) VALUES (?, ?, ?, ?) USING TIMESTAMP ?
"""
_PUT_FIRST: Final = "INSERT INTO {keyspace}.profiles (member_id, first_seen_ms) VALUES (?, ?) USING TIMESTAMP ?"
_END_LIFE: Final = "DELETE FROM {keyspace}.profiles USING TIMESTAMP ? WHERE member_id = ?"
_BEGIN_LIFE: Final = "INSERT INTO {keyspace}.profiles (member_id, life) VALUES (?, ?) USING TIMESTAMP ?"
_LIST: Final = """
INSERT INTO {keyspace}.members_by_week (week, shard, slot, member_id, last_seen_ms) VALUES (?, ?, ?, ?, ?)
USING TIMESTAMP ?
"""
_UNLIST: Final = """
DELETE FROM {keyspace}.members_by_week USING TIMESTAMP ? WHERE week = ? AND shard = ? AND slot = ? AND member_id = ?
"""
_LISTED: Final = "SELECT slot, member_id, last_seen_ms FROM {keyspace}.members_by_week WHERE week = ? AND shard = ?"
_SLOTS_OF: Final = """
SELECT week, slot FROM {keyspace}.members_by_week WHERE week = ? AND shard = ? AND member_id = ? ALLOW FILTERING
"""
_PUT_WEEK: Final = "INSERT INTO {keyspace}.weeks (one, week) VALUES (0, ?) USING TIMESTAMP 1"
_WEEKS: Final = "SELECT week FROM {keyspace}.weeks WHERE one = 0"
STATEMENTS: Final = (
    _SELECT,
    _PUT_NEWEST,
    _PUT_FIRST,
    _END_LIFE,
    _BEGIN_LIFE,
    _LIST,
    _UNLIST,
    _LISTED,
    _SLOTS_OF,
    _PUT_WEEK,
    _WEEKS,
)


class _Stored(NamedTuple):
    """A profile's row; the times are None where there is none, or it was forgotten."""

    life: int = 0
    country: str | None = None
    device: str | None = None
    first_seen_ms: int | None = None
    last_seen_ms: int | None = None


class ProfilesTable:
    """Profiles by member id, and the members by when they were last seen."""

    def __init__(self, connection: CassandraConnection) -> None:
        self._connection = connection

    def put(self, profiles: Sequence[Profile]) -> None:
        """Write profiles: the earlier first_seen_ms, the later last_seen_ms and the newer country and device stay."""
        if not profiles:
            return
        prepared = self._connection.prepared
        put_newest, put_first = prepared(_PUT_NEWEST), prepared(_PUT_FIRST)
        stored = self._stored({profile.member_id for profile in profiles})
        newest: dict[str, int] = {}
        writes: list[Write] = []
        for profile in profiles:
            name = profile.member_id
            life = stored[name].life
            newest[name] = max(newest.get(name, 0), profile.last_seen_ms)
            newer = (name, profile.country or UNSET_VALUE, profile.device or UNSET_VALUE, profile.last_seen_ms)
            writes += [
                Write(put_newest, (*newer, _later_wins(life, profile.last_seen_ms)), name, _ROW_BYTES),
                Write(
                    put_first,
                    (name, profile.first_seen_ms, _earlier_wins(life, profile.first_seen_ms)),
                    name,
                    _ROW_BYTES,
                ),
            ]
        self._list(newest, stored)  # first: once the profile says when, who tries again takes it for listed
        self._connection.run(in_batches(writes), WRITE)

    def get(self, member_id: str) -> Profile | None:
        """Return a member's profile, None for one never seen or forgotten since."""
        if not member_id:
            return None
        _, country, device, first_seen_ms, last_seen_ms = self._stored([member_id])[member_id]
        if last_seen_ms is None:
            return None
        first_seen_ms = last_seen_ms if first_seen_ms is None else first_seen_ms
        return Profile(member_id, country or "", device or "", first_seen_ms, last_seen_ms)

    def member_ids(self, limit: int) -> list[str]:
        """Return up to `limit` ids of members, the most recently seen first."""
        if limit <= 0:
            return []
        found: dict[str, None] = {}
        with translated():
            for member_id in self._by_last_seen():
                found[member_id] = None
                if len(found) == limit:
                    break
        return list(found)

    def forget(self, member_id: str) -> int:
        """Delete a member's profile, and what is written late as of the life that ends; return how many there were."""
        stored = self._stored([member_id])[member_id]
        if stored.last_seen_ms is None:
            return 0
        prepared = self._connection.prepared
        ended = _later_wins(stored.life, _LIFE_TIMES)
        unlist, shard = prepared(_UNLIST), _shard(member_id)
        weeks = [week for week in self._weeks() if week <= stored.last_seen_ms // WEEK_MS]
        slots_of = prepared(_SLOTS_OF)
        slots = rows_of(self._connection.run((slots_of.bind((week, shard, member_id)) for week in weeks), READ))
        writes = [Write(unlist, (ended, week, shard, slot, member_id), week, _ROW_BYTES) for week, slot in slots]
        self._connection.run(in_batches(writes), WRITE)
        life = stored.life + 1
        ending = [
            Write(prepared(_END_LIFE), (ended, member_id), member_id, _ROW_BYTES),
            Write(prepared(_BEGIN_LIFE), (member_id, life, _later_wins(life, 0)), member_id, _ROW_BYTES),
        ]
        self._connection.run(in_batches(ending), WRITE)
        return 1

    def _stored(self, member_ids: Iterable[str]) -> dict[str, _Stored]:
        names = list(member_ids)
        select = self._connection.prepared(_SELECT)
        groups = (names[start : start + MEMBERS_PER_READ] for start in range(0, len(names), MEMBERS_PER_READ))
        rows = rows_of(self._connection.run((select.bind((group,)) for group in groups), READ))
        found = {name: _Stored(life or 0, *others) for name, life, *others in rows}
        return {name: found.get(name, _Stored()) for name in names}

    def _list(self, newest: dict[str, int], stored: dict[str, _Stored]) -> None:
        """List members where they were last seen, and no longer where they were seen before."""
        prepared = self._connection.prepared
        enlist, unlist = prepared(_LIST), prepared(_UNLIST)
        writes: list[Write] = []
        weeks: set[int] = set()
        for name, seen_ms in newest.items():
            life, shard = stored[name].life, _shard(name)
            before_ms = stored[name].last_seen_ms
            if before_ms is not None and before_ms >= seen_ms:
                continue
            week, slot = seen_ms // WEEK_MS, seen_ms // SLOT_MS
            weeks.add(week)
            values = (week, shard, slot, name, seen_ms, _later_wins(life, seen_ms))
            writes.append(Write(enlist, values, (week, shard), _ROW_BYTES))
            if before_ms is not None and before_ms // SLOT_MS != slot:
                old = (before_ms // WEEK_MS, shard, before_ms // SLOT_MS, name)
                end_of_slot_ms = (before_ms // SLOT_MS + 1) * SLOT_MS - 1
                writes.append(Write(unlist, (_later_wins(life, end_of_slot_ms), *old), old[:2], _ROW_BYTES))
        put_week = prepared(_PUT_WEEK)
        self._connection.run((put_week.bind((week,)) for week in weeks), WRITE)  # first: no member in a week unheard of
        writes.sort(key=lambda write: hash(write.partition))
        self._connection.run(in_batches(writes), WRITE)

    def _by_last_seen(self) -> Iterator[str]:
        """Yield ids, the most recently seen first; a member may come again."""
        listed = self._connection.prepared(_LISTED)
        for week in self._weeks():
            statements = [listed.bind((week, shard)) for shard in range(SHARDS)]
            for statement in statements:
                statement.fetch_size = PAGE_ROWS
            shards = self._connection.run(statements, READ)
            merged = heapq.merge(*shards, key=lambda row: -row[0])
            for _, slot in groupby(merged, key=itemgetter(0)):
                in_slot = sorted(((last_seen_ms, name) for _, name, last_seen_ms in slot), reverse=True)
                yield from (name for _, name in in_slot)

    def _weeks(self) -> list[int]:
        with translated():
            return [row[0] for row in self._connection.run([self._connection.prepared(_WEEKS).bind(())], READ)[0]]


def _later_wins(life: int, time_ms: int) -> int:
    return life << _LIFE_SHIFT | time_ms


def _earlier_wins(life: int, time_ms: int) -> int:
    return life << _LIFE_SHIFT | (_LIFE_TIMES - 1 - time_ms)


def _shard(member_id: str) -> int:
    return crc32(member_id.encode()) % SHARDS
