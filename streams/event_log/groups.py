"""Consumer groups as pure transitions: who is a member, who holds which partition, who gets it next.

A partition is held by one member until that member lets go of it, leaves, dies or lets its session run out; only then
may another take it. So at no moment do two members hold one partition, and a frozen one finds itself put out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from streams.event_log.liveness import ProcessIdentity
from streams.event_log.protocol import TopicPartition


class Member(msgspec.Struct, frozen=True, array_like=True):
    """A member of a group. deadline_ms: on the machine's monotonic clock, when its session runs out unless renewed."""

    topics: tuple[str, ...]
    process: ProcessIdentity
    deadline_ms: int


class Group(msgspec.Struct, frozen=True, array_like=True):
    """A group. generation: rises with every change of members or owners. owners: partition -> member id."""

    generation: int = 0
    members: dict[str, Member] = {}
    owners: dict[TopicPartition, str] = {}

    def owned_by(self, member_id: str) -> frozenset[TopicPartition]:
        """Return the partitions that a member holds."""
        return frozenset(partition for partition, owner in self.owners.items() if owner == member_id)


def with_member(group: Group, member_id: str, member: Member) -> Group:
    """Return the group with a member added or its session renewed."""
    joins = member_id not in group.members
    return Group(group.generation + joins, {**group.members, member_id: member}, group.owners)


def without_members(group: Group, gone: Collection[str]) -> Group:
    """Return the group without some members; what they held is free."""
    if not any(member_id in group.members for member_id in gone):
        return group
    return Group(
        group.generation + 1,
        {member_id: member for member_id, member in group.members.items() if member_id not in gone},
        {partition: owner for partition, owner in group.owners.items() if owner not in gone},
    )


def expired(group: Group, now_ms: int) -> set[str]:
    """Return the members whose session has run out at `now_ms` (monotonic)."""
    return {member_id for member_id, member in group.members.items() if member.deadline_ms < now_ms}


def settled(group: Group, member_id: str, partitions: Sequence[TopicPartition]) -> Group:
    """Return the group after one member's part in a rebalance: it lets go of what others are to have, and takes what
    is its own and free. `partitions`: all of its topics."""
    subscriptions = {other: member.topics for other, member in group.members.items()}
    target = assign(subscriptions, partitions, group.owners)
    owners = {
        partition: owner
        for partition, owner in group.owners.items()
        if owner != member_id or target.get(partition) == member_id
    }
    for partition, owner in target.items():
        if owner == member_id:
            owners.setdefault(partition, member_id)
    if owners == group.owners:
        return group
    return Group(group.generation + 1, group.members, owners)


def assign(
    members: Mapping[str, Collection[str]],
    partitions: Sequence[TopicPartition],
    current: Mapping[TopicPartition, str],
) -> dict[TopicPartition, str]:
    """Return who should hold each partition: balanced (loads differ by at most one where subscriptions are the same),
    and sticky (a partition moves only to even the loads).

    members: id -> topics it subscribes to; current: who holds what now. Partitions that nobody subscribes to are left
    out; without members the answer is empty.

    >>> pages = [TopicPartition("pages", n) for n in range(4)]
    >>> sorted(assign({"a": ["pages"], "b": ["pages"]}, pages, dict.fromkeys(pages, "a")).values())
    ['a', 'a', 'b', 'b']
    """
    ordered = sorted(set(partitions))
    eligible = {topic: sorted(member for member, topics in members.items() if topic in topics) for topic, _ in ordered}
    load = dict.fromkeys(members, 0)
    target: dict[TopicPartition, str] = {}
    for partition in ordered:
        owner = current.get(partition)
        if owner is not None and owner in eligible[partition.topic]:
            target[partition] = owner
            load[owner] += 1
    for partition in ordered:
        if partition not in target and eligible[partition.topic]:
            owner = min(eligible[partition.topic], key=load.__getitem__)
            target[partition] = owner
            load[owner] += 1
    while _even_out(target, eligible, load):
        pass
    return target


def _even_out(target: dict[TopicPartition, str], eligible: Mapping[str, Sequence[str]], load: dict[str, int]) -> bool:
    """Move partitions, in place, from a member to one with at least two fewer; return whether any moved.

    Each move lowers the sum of squared loads, so repeating it ends."""
    moved = False
    for partition, owner in target.items():
        least = min(eligible[partition.topic], key=load.__getitem__)
        if load[owner] > load[least] + 1:
            target[partition] = least
            load[owner] -= 1
            load[least] += 1
            moved = True
    return moved
