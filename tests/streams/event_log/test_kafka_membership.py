"""What a member tells its caller of its partitions: never that it kept one that another may have had meanwhile."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streams.errors import Fenced
from streams.event_log.kafka.membership import Membership

PARTITIONS = range(4)
some_partitions = st.sets(st.sampled_from(PARTITIONS))


class Client:
    """What a membership takes from an AIOKafkaConsumer: the coordinator's generation, and where it is told to read."""

    def __init__(self) -> None:
        self._coordinator = SimpleNamespace(member_id="", generation=-1)
        self.reads_at: dict[int, int] = {}

    def seek(self, at: int, offset: int) -> None:
        self.reads_at[at] = offset


class Rebalances(RuleBasedStateMachine):
    """A group that goes through generations, with this member or without, while its caller polls now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.client = Client()
        self.membership = Membership(self.client)
        self.generation = 0
        self.joins = 0
        self.given: set[int] = set()
        self.others_had: set[int] = set(PARTITIONS)
        """Since the caller was told last that it holds them."""
        self.offset = 0

    @rule(partitions=some_partitions)
    def rebalance(self, partitions: set[int]) -> None:
        self.membership.on_partitions_revoked(set())
        self.assign(partitions)

    @rule(others=some_partitions, partitions=some_partitions)
    def miss_a_generation(self, others: set[int], partitions: set[int]) -> None:
        """Others join twice before this member's answer comes: what they had in between is not known here."""
        self.membership.on_partitions_revoked(set())
        self.generation += 1
        self.others_had |= others
        self.assign(partitions)

    @rule()
    def be_put_out(self) -> None:
        self.client._coordinator.generation, self.client._coordinator.member_id = -1, ""
        self.membership.on_partitions_revoked(set())
        self.generation += 1
        self.given = set()
        self.others_had = set(PARTITIONS)

    @rule()
    def poll(self) -> None:
        before = self.membership.held
        with contextlib.suppress(Fenced):
            self.membership.step()
        after = self.membership.held
        assert not (before & after & self.others_had)
        self.others_had -= after - before
        self.offset += 1
        for at in after:
            self.membership.positions.setdefault(at, self.offset)
            self.client.reads_at[at] = self.membership.positions[at]

    @precondition(lambda self: self.membership.held and self.membership.is_current)
    @rule()
    def commit(self) -> None:
        assert self.membership.held == self.given
        assert self.client._coordinator.generation == self.generation

    @invariant()
    def after_some_polls_the_caller_knows(self) -> None:
        if not self.membership.changed.is_set():
            assert self.membership.held == self.given

    def assign(self, partitions: set[int]) -> None:
        if self.client._coordinator.generation <= 0:
            self.joins += 1
        self.generation += 1
        self.client._coordinator.generation = self.generation
        self.client._coordinator.member_id = f"member-{self.joins}"
        self.given = partitions
        self.others_had |= set(PARTITIONS) - partitions
        self.client.reads_at = dict.fromkeys(partitions, 0)
        self.membership.on_partitions_assigned(set(partitions))
        for at in partitions & self.membership._kept & self.membership.positions.keys():
            assert self.client.reads_at[at] == self.membership.positions[at]


TestRebalances = Rebalances.TestCase
TestRebalances.settings = settings(max_examples=50, stateful_step_count=20, deadline=None)
