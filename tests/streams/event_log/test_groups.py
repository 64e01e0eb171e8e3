"""Consumer groups as pure transitions: fair, sticky, and never two owners."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streams.event_log.groups import Group, Member, assign, expired, settled, with_member, without_members
from streams.event_log.liveness import ProcessIdentity
from streams.event_log.protocol import TopicPartition

PROCESS = ProcessIdentity("host", 1, "0")

member_ids = st.text("abcdefgh", min_size=1, max_size=2)
partition_counts = st.integers(1, 12)


def partitions_of(topic: str, count: int) -> list[TopicPartition]:
    return [TopicPartition(topic, n) for n in range(count)]


@given(st.sets(member_ids, min_size=1), partition_counts, st.dictionaries(st.integers(0, 11), member_ids))
def test_every_partition_has_one_member_and_loads_differ_by_at_most_one(
    members: set[str], count: int, current: dict[int, str]
) -> None:
    partitions = partitions_of("t", count)
    held = {TopicPartition("t", n): member for n, member in current.items()}
    target = assign(dict.fromkeys(members, ("t",)), partitions, held)
    assert target.keys() == set(partitions)
    loads = [list(target.values()).count(member) for member in members]
    assert max(loads) - min(loads) <= 1


@given(st.sets(member_ids, min_size=1), partition_counts, st.dictionaries(st.integers(0, 11), member_ids))
def test_a_settled_assignment_stays_as_it_is(members: set[str], count: int, current: dict[int, str]) -> None:
    partitions = partitions_of("t", count)
    subscriptions = dict.fromkeys(members, ("t",))
    target = assign(subscriptions, partitions, {TopicPartition("t", n): m for n, m in current.items()})
    assert assign(subscriptions, partitions, target) == target


@given(st.sets(member_ids, min_size=2), partition_counts)
def test_when_a_member_goes_only_its_partitions_move(members: set[str], count: int) -> None:
    partitions = partitions_of("t", count)
    before = assign(dict.fromkeys(members, ("t",)), partitions, {})
    gone = min(members)
    after = assign(dict.fromkeys(members - {gone}, ("t",)), partitions, before)
    assert {at for at in partitions if before[at] != after[at]} == {at for at in partitions if before[at] == gone}


@given(st.sets(member_ids, min_size=1), member_ids, partition_counts)
def test_a_newcomer_gets_its_share_and_nothing_else_moves(members: set[str], newcomer: str, count: int) -> None:
    partitions = partitions_of("t", count)
    before = assign(dict.fromkeys(members, ("t",)), partitions, {})
    after = assign(dict.fromkeys(members | {newcomer}, ("t",)), partitions, before)
    assert {after[at] for at in partitions if before[at] != after[at]} <= {newcomer}


@given(st.dictionaries(member_ids, st.sets(st.sampled_from("tuv")), max_size=6))
def test_members_get_only_what_they_subscribe_to(members: dict[str, set[str]]) -> None:
    partitions = [at for topic in "tuv" for at in partitions_of(topic, 4)]
    target = assign(members, partitions, {})
    assert all(at.topic in members[member] for at, member in target.items())
    assert target.keys() == {at for at in partitions if any(at.topic in topics for topics in members.values())}


def test_a_member_lets_go_before_another_takes() -> None:
    partitions = partitions_of("t", 4)
    group = settled(with_member(Group(), "a", Member(("t",), PROCESS, 10)), "a", partitions)
    assert group.owned_by("a") == set(partitions)
    group = settled(with_member(group, "b", Member(("t",), PROCESS, 10)), "b", partitions)
    assert group.owned_by("b") == set()
    group = settled(group, "a", partitions)
    assert len(group.owned_by("a")) == 2
    group = settled(group, "b", partitions)
    assert group.owned_by("b") == set(partitions) - group.owned_by("a")


def test_the_generation_rises_with_members_and_owners_and_not_with_renewals() -> None:
    partitions = partitions_of("t", 2)
    joined = with_member(Group(), "a", Member(("t",), PROCESS, 10))
    owning = settled(joined, "a", partitions)
    renewed = with_member(owning, "a", Member(("t",), PROCESS, 20))
    assert (joined.generation, owning.generation, renewed.generation) == (1, 2, 2)
    assert settled(renewed, "a", partitions) == renewed
    assert without_members(renewed, ["a"]) == Group(3)


class GroupMachine(RuleBasedStateMachine):
    """Members join, poll, freeze past their session and leave, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.group = Group()
        self.now_ms = 0
        self.partitions = partitions_of("t", 5)

    @rule(member=st.sampled_from("abc"))
    def poll(self, member: str) -> None:
        before = dict(self.group.owners)
        group = without_members(self.group, expired(self.group, self.now_ms) - {member})
        group = with_member(group, member, Member(("t",), PROCESS, self.now_ms + 10))
        free = group.owners.keys()
        self.group = settled(group, member, self.partitions)
        for at, owner in self.group.owners.items():
            assert owner == before.get(at) or (owner == member and at not in free)

    @rule(ms=st.integers(1, 12))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule(member=st.sampled_from("abc"))
    def leave(self, member: str) -> None:
        self.group = without_members(self.group, [member])

    @invariant()
    def only_members_own(self) -> None:
        assert set(self.group.owners.values()) <= self.group.members.keys()

    @invariant()
    def after_two_rounds_of_polls_all_is_owned_and_even(self) -> None:
        group = without_members(self.group, expired(self.group, self.now_ms))
        for _ in range(2):
            for member in sorted(group.members):
                group = settled(group, member, self.partitions)
        if group.members:
            loads = [len(group.owned_by(member)) for member in group.members]
            assert sum(loads) == len(self.partitions)
            assert max(loads) - min(loads) <= 1


TestGroupMachine = GroupMachine.TestCase
TestGroupMachine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
