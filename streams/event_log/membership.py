"""A member's part in its consumer group: it joins, renews its session, puts out the dead, gives and takes leases."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Final

from streams.errors import Fenced
from streams.event_log.group_store import Commit, GroupStore
from streams.event_log.groups import Group, Member, expired, settled, with_member, without_members
from streams.event_log.liveness import is_dead, this_process
from streams.event_log.protocol import TopicPartition

RENEW_SHARE: Final = 3
"""A session is renewed once 1/RENEW_SHARE of it has passed."""


class Membership:
    """One member of one group; a new one, under a new id, each time it joins. Not thread-safe."""

    def __init__(self, groups: GroupStore, group: str, topics: Sequence[str], session_ms: int) -> None:
        self._groups = groups
        self._group = group
        self._topics = tuple(topics)
        self._session_ms = session_ms
        self._member_id = ""
        self._settled: tuple[int, Sequence[TopicPartition]] | None = None

    def sync(self, partitions: Sequence[TopicPartition], now_ms: int) -> frozenset[TopicPartition]:
        """Take part in the group as of `now_ms` (monotonic); return the partitions held.

        partitions: all of the member's topics. Raises Fenced if the session had run out and it was put out: the next
        call joins anew."""
        group = self._groups.read(self._group)
        try:
            self._check_joined(group)
            dead = {other for other, member in group.members.items() if self._has_died(other, member)}
            if self._has_something_to_do(group, partitions, dead, now_ms):
                group = self._groups.change(self._group, lambda current: self._turn(current, partitions, dead, now_ms))
        except Fenced:
            self._member_id = ""
            raise
        self._settled = group.generation, partitions
        return group.owned_by(self._member_id)

    def commit(self, commits: Mapping[TopicPartition, Commit]) -> None:
        """Record commits durably. Raises Fenced unless this member holds every partition."""
        self._groups.commit(self._group, self._member_id, commits)

    def leave(self) -> None:
        """Let go of everything, so that others take over at once."""
        member_id, self._member_id = self._member_id, ""
        if member_id:
            self._groups.change(self._group, lambda group: without_members(group, [member_id]))

    def _check_joined(self, group: Group) -> None:
        if self._member_id and self._member_id not in group.members:
            raise Fenced(f"the session in {self._group} had run out, and others took over")

    def _has_died(self, other: str, member: Member) -> bool:
        return other != self._member_id and is_dead(member.process)

    def _has_something_to_do(
        self, group: Group, partitions: Sequence[TopicPartition], dead: set[str], now_ms: int
    ) -> bool:
        return bool(
            dead
            or self._is_due(group, now_ms)
            or (group.generation, partitions) != self._settled
            or expired(group, now_ms)
        )

    def _is_due(self, group: Group, now_ms: int) -> bool:
        """Return whether it is time to join, or to renew the session."""
        member = group.members.get(self._member_id)
        return member is None or member.deadline_ms - now_ms < self._session_ms * (RENEW_SHARE - 1) // RENEW_SHARE

    def _turn(self, group: Group, partitions: Sequence[TopicPartition], dead: set[str], now_ms: int) -> Group:
        """Return the group after this member's turn."""
        self._check_joined(group)
        self._member_id = self._member_id or f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        group = without_members(group, (dead | expired(group, now_ms)) - {self._member_id})
        if self._is_due(group, now_ms):
            member = Member(self._topics, this_process(), now_ms + self._session_ms)
            group = with_member(group, self._member_id, member)
        return settled(group, self._member_id, partitions)
