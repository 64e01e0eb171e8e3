"""Epochs folded from a topic's entries: whatever writers race and crash, all readers come to the same, and no position
comes twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streams.event_log.epochs import epoch_at
from streams.event_log.kafka import history
from streams.event_log.kafka.history import UNKNOWN, Entry, TopicHistory, fold, next_step


def folded(entries: list[Entry]) -> TopicHistory:
    known = UNKNOWN
    for entry in entries:
        known = fold(known, entry)
    return known


def test_of_two_writers_that_say_the_same_one_is_heard() -> None:
    entry = history.began("t", UNKNOWN, "id", 4, 0)
    assert folded([entry, entry]) == folded([entry])
    assert folded([entry]).epoch == 1


def test_a_topic_made_anew_has_a_higher_epoch_and_its_former_id_is_out_of_date() -> None:
    known = folded([history.began("t", UNKNOWN, "old", 4, 0)])
    assert next_step(known, "new", 4, 0) == "begin"
    known = fold(known, history.began("t", known, "new", 2, 0))
    assert (known.epoch, known.partitions) == (2, 2)
    assert next_step(known, "old", 4, 0) == "behind"
    assert next_step(known, "new", 2, 0) == "settled"


def test_a_growth_that_was_announced_for_a_topic_that_is_gone_means_nothing() -> None:
    old = folded([history.began("t", UNKNOWN, "old", 2, 0)])
    late = history.growing("t", old, 4)
    new = fold(old, history.began("t", old, "new", 2, 0))
    assert fold(new, late) == new


def test_the_least_epoch_is_reached_at_once() -> None:
    known = folded([history.began("t", UNKNOWN, "id", 2, 0)])
    assert next_step(known, "id", 2, 9) == "begin"
    known = fold(known, history.began("t", known, "id", 2, 9))
    assert (known.epoch, next_step(known, "id", 2, 9)) == (9, "settled")


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 50)), min_size=1, max_size=6))
def test_after_any_growths_epochs_rise_with_the_offsets_of_each_partition(growths: list[tuple[int, int]]) -> None:
    known = folded([history.began("t", UNKNOWN, "id", 1, 0)])
    ends = [0]
    for more, appended in growths:
        ends = [end + appended for end in ends]
        known = fold(known, history.growing("t", known, known.partitions + more))
        known = fold(known, history.has_grown("t", known, tuple(ends)))
        ends += [0] * more
    for partition, end in enumerate(ends):
        epochs = [epoch_at(known.epochs, partition, offset) for offset in range(end + 2)]
        assert epochs == sorted(epochs)
        assert epochs[-1] == known.epoch


class CrashingWriters(RuleBasedStateMachine):
    """Writers that each saw some prefix of the entries act on it, while the topic is made anew and grown."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self.ids = ["id-0"]
        self.partitions = 2
        self.seen_epochs: dict[str, set[int]] = {}

    @rule(behind=st.integers(0, 3))
    def act(self, behind: int) -> None:
        """One writer does what it takes to be the next step; it may crash after that, and may have read too little."""
        known = folded(self.entries[: len(self.entries) - behind])
        topic_id = self.ids[-1]
        step = next_step(known, topic_id, self.partitions, 0)
        if step == "begin":
            self.entries.append(history.began("t", known, topic_id, self.partitions, 0))
        elif step == "announce":
            self.entries.append(history.growing("t", known, self.partitions))
        elif step == "end":
            self.entries.append(history.has_grown("t", known, (7,) * known.partitions))
        elif step == "add":
            self.partitions = max(self.partitions, known.partitions)

    @rule(more=st.integers(1, 3))
    def grow(self, more: int) -> None:
        known = folded(self.entries)
        if known.epochs:
            self.entries.append(history.growing("t", known, known.partitions + more))

    @rule(partitions=st.integers(1, 4))
    def recreate(self, partitions: int) -> None:
        self.ids.append(f"id-{len(self.ids)}")
        self.partitions = partitions

    @invariant()
    def an_epoch_is_of_one_topic(self) -> None:
        known = folded(self.entries)
        for one in known.epochs:
            self.seen_epochs.setdefault(known.topic_id, set()).add(one.epoch)
        epochs = [epoch for of_topic in self.seen_epochs.values() for epoch in of_topic]
        assert len(epochs) == len(set(epochs))

    @invariant()
    def writers_that_read_everything_settle(self) -> None:
        entries, partitions = list(self.entries), self.partitions
        for _ in range(4):
            known = folded(entries)
            step = next_step(known, self.ids[-1], partitions, 0)
            if step == "begin":
                entries.append(history.began("t", known, self.ids[-1], partitions, 0))
            elif step == "announce":
                entries.append(history.growing("t", known, partitions))
            elif step == "end":
                entries.append(history.has_grown("t", known, (7,) * known.partitions))
            elif step == "add":
                partitions = known.partitions
        known = folded(entries)
        assert next_step(known, self.ids[-1], partitions, 0) == "settled"
        assert known.partitions == partitions


TestCrashingWriters = CrashingWriters.TestCase
TestCrashingWriters.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
