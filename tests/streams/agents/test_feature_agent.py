"""The feature agent: whatever is interrupted, delivered again or written by others, stores end as the replay says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.agents.catalogue_source import CatalogueSource
from streams.agents.feature_agent import FeatureAgent
from streams.agents.folding_agent import (
    BEHIND_MS,
    BUSY_RECORDS,
    MAX_REST_MS,
    PUBLISHED_BEHIND_MS,
    REST_MS,
    UNWRITTEN_RECORDS,
)
from streams.agents.refilling import KINDS, MARKER_KIND, HotStoreWatch
from streams.catalogue import GRACE_MS, Catalogue, Title, publish_titles
from streams.errors import Fenced, TryAgain, Undeliverable
from streams.event_log.protocol import Batch, Record, TopicPartition
from streams.events import Event, encode_event
from streams.features.admission import admit_event
from streams.features.member import MEMBER, history
from streams.features.replay import replay
from streams.features.title import TITLE, title_key
from streams.forget import forget_member
from streams.importers.movielens import read_movielens
from streams.partitioner import partition_for
from streams.positions import NOTHING, pack_position, unpack_position
from streams.stores.embedded_hot import EmbeddedHotStore
from streams.stores.protocol import DurableStore, StateEntry, StateStore
from streams.stores.sqlite_durable import SqliteDurableStore
from streams.topics import MEMBER_EVENTS
from tests.streams.agents.later import Later
from tests.streams.agents.state_stores import Gate, Killed, Letters, MemoryStore, OneEpoch
from tests.streams.features.events import CATALOGUE, DAY_MS, EPOCH, NOW_MS, batches, events, generated
from tests.streams.importers.real_data import folder_or_skip

PLACE = TopicPartition(MEMBER_EVENTS, 0)


def agent_over(
    hot: StateStore,
    durable: DurableStore,
    letters: Letters | None = None,
    source: Callable[[], Catalogue] = lambda: CATALOGUE,
    members_held: int = 100,
    epoch: int = EPOCH,
    beside: bool = False,
    partitions: int = 1,
) -> FeatureAgent:
    watch = HotStoreWatch(hot, durable, run=lambda work: work())
    return FeatureAgent(
        source,
        hot,
        durable,
        letters or Letters(),
        OneEpoch(epoch, partitions),
        members_held=members_held,
        titles_held=members_held,
        watch=watch,
        executor=Later() if beside else None,
    )


def batch_of(stream: Sequence[Event], start: int = 0, end: int | None = None) -> Batch:
    records = batches(stream)[0].records
    return Batch(MEMBER_EVENTS, 0, EPOCH, records[start:end])


def play(number: int, member: str = "m", item_id: str = "t1", context: dict[str, str] | None = None) -> Event:
    return Event(f"e{number}", "play", member, NOW_MS + number, item_id, context=context or {})


class ReadsCounted(MemoryStore):
    reads = 0

    def _check(self) -> None:
        self.reads += 1
        super()._check()


class Driver:
    """Does what a runner does: hands an agent its batches, retries, and starts a new one where the last was killed."""

    def __init__(self, make: Callable[[], FeatureAgent], stream: Sequence[Event], sizes: Sequence[int]) -> None:
        self.make = make
        self.stream = stream
        self.sizes = [size for size in sizes if size] or [7]
        self.agent: FeatureAgent | None = None
        self.committed = 0
        self.offset = 0
        self.turns = 0

    def run(self) -> None:
        while self.committed < len(self.stream):
            self.turn()

    def catch_up(self) -> None:
        """Run until an agent has taken in everything, wherever it had to begin, and written it."""
        while not self.has_written_all():
            self.turn()
        self.run()

    def has_written_all(self) -> bool:
        """Have everything written if everything is taken in; return whether that is so."""
        if self.agent is None or self.offset < len(self.stream):
            return False
        try:
            self.agent.write()
        except (Killed, Fenced):
            self.agent = None
            return False
        except TryAgain:
            return False
        return True

    def turn(self) -> None:
        size = self.sizes[self.turns % len(self.sizes)]
        self.turns += 1
        try:
            if self.agent is None:
                self.agent = self.make()
                self.offset = self.agent.assigned([PLACE])[PLACE]
                self.committed = max(self.committed, self.offset)
            batch = batch_of(self.stream, self.offset, self.offset + size)
            self.agent.prepare([batch])
            self.agent.process(batch)
            written = self.agent.flush(NOW_MS + self.turns * REST_MS // 3)
        except (Killed, Fenced):
            self.agent = None
        except TryAgain:
            pass
        else:
            self.offset += len(batch.records)
            self.committed = written.get(PLACE, self.committed)


def assert_as_replayed(stream: Sequence[Event], *stores: StateStore, catalogue: Catalogue = CATALOGUE) -> None:
    expected = replay([batch_of(stream)], catalogue).packed()
    for store in stores:
        for kind in (MEMBER.name, TITLE.name):
            assert dict(store.scan(kind)) == expected[kind]


def is_admitted(record: Record) -> bool:
    try:
        return bool(admit_event(record, CATALOGUE))
    except Undeliverable:
        return False


def assert_history_has_each_event_once(stream: Sequence[Event], durable: MemoryStore) -> None:
    admitted = [record.offset for record in batch_of(stream).records if is_admitted(record)]
    assert len(durable.rows) == len({(stream[offset].member_id, stream[offset].event_id) for offset in admitted})


failures = st.dictionaries(st.integers(1, 120), st.sampled_from([Killed("killed"), TryAgain("away")]), max_size=12)
streams = st.lists(events(members=3), min_size=1, max_size=40)
sizes = st.lists(st.integers(1, 12), max_size=8)


@pytest.mark.parametrize("beside", [False, True])
@settings(max_examples=120)
@given(streams, sizes, failures, st.integers(1, 4))
def test_kills_and_stores_that_are_away_at_any_step_lose_nothing_and_count_nothing_twice(
    beside: bool, stream: list[Event], cut: list[int], failing: Mapping[int, Exception], held: int
) -> None:
    gate = Gate()
    hot, durable = MemoryStore(gate), MemoryStore(gate)
    gate.failures = dict(failing)

    Driver(lambda: agent_over(hot, durable, members_held=held, beside=beside), stream, cut).run()

    assert_as_replayed(stream, hot, durable)
    assert_history_has_each_event_once(stream, durable)


@pytest.mark.parametrize("beside", [False, True])
@settings(max_examples=80)
@given(streams, sizes, sizes, st.lists(st.booleans(), min_size=1, max_size=30), failures)
def test_two_owners_at_once_do_not_spoil_each_others_states(
    beside: bool,
    stream: list[Event],
    cut: list[int],
    other_cut: list[int],
    order: list[bool],
    failing: Mapping[int, Exception],
) -> None:
    gate = Gate()
    hot, durable = MemoryStore(gate), MemoryStore(gate)
    gate.failures = dict(failing)
    one, other = (Driver(lambda: agent_over(hot, durable, beside=beside), stream, part) for part in (cut, other_cut))
    for first in order:
        (one if first else other).turn()
    one.run()
    other.run()

    assert_as_replayed(stream, hot, durable)
    assert_history_has_each_event_once(stream, durable)


@pytest.mark.parametrize("beside", [False, True])
@settings(max_examples=60)
@given(streams, sizes, st.integers(1, 10))
def test_a_hot_store_that_is_lost_at_any_time_is_filled_again(
    beside: bool, stream: list[Event], cut: list[int], after: int
) -> None:
    hot, durable = MemoryStore(), MemoryStore()
    driver = Driver(lambda: agent_over(hot, durable, beside=beside), stream, cut)
    for _ in range(after):
        driver.turn()
    hot.states.clear()
    driver.turn()
    driver.run()
    assert driver.agent is not None
    driver.agent.write()

    assert_as_replayed(stream, hot, durable)


@pytest.mark.parametrize("beside", [False, True])
@settings(max_examples=40)
@given(streams, sizes, st.integers(1, 10), st.booleans())
def test_when_both_stores_are_lost_the_log_is_read_from_its_start(
    beside: bool, stream: list[Event], cut: list[int], after: int, killed: bool
) -> None:
    hot, durable = MemoryStore(), MemoryStore()
    driver = Driver(lambda: agent_over(hot, durable, beside=beside), stream, cut)
    for _ in range(after):
        driver.turn()
    for store in (hot, durable):
        store.states.clear()
    if killed:
        driver.agent = None
    driver.turn()
    driver.turn()
    driver.run()
    driver.catch_up()

    assert_as_replayed(stream, hot, durable)


@pytest.mark.parametrize("beside", [False, True])
@settings(max_examples=60)
@given(streams, sizes, st.lists(st.integers(1, 4), max_size=6))
def test_a_rebuilding_that_is_killed_goes_on_where_it_was_whatever_is_committed(
    beside: bool, stream: list[Event], cut: list[int], lives: list[int]
) -> None:
    hot, durable = MemoryStore(), MemoryStore()
    driver = Driver(lambda: agent_over(hot, durable, beside=beside), stream, cut)
    driver.run()
    for store in (hot, durable):
        store.states.clear()
    for turns in lives:
        driver.agent = None
        for _ in range(turns):
            driver.turn()
    driver.agent = None
    driver.catch_up()

    assert_as_replayed(stream, hot, durable)


@pytest.mark.parametrize("beside", [False, True])
@settings(max_examples=80)
@given(streams, sizes, st.integers(0, 8), st.integers(0, 8), st.booleans(), failures, st.integers(1, 4))
def test_a_durable_store_that_is_lost_or_put_back_from_a_copy_gets_what_it_lacks(
    beside: bool,
    stream: list[Event],
    cut: list[int],
    before: int,
    after: int,
    killed: bool,
    failing: Mapping[int, Exception],
    held: int,
) -> None:
    gate = Gate()
    hot, durable = MemoryStore(gate), MemoryStore(gate)
    driver = Driver(lambda: agent_over(hot, durable, members_held=held, beside=beside), stream, cut)
    for _ in range(before):
        driver.turn()
    copy = copy_of(durable)
    for _ in range(after):
        driver.turn()
    durable.states, durable.rows, durable.profiles = copy.states, copy.rows, copy.profiles
    gate.failures = {gate.steps + step: failure for step, failure in failing.items()}
    if killed:
        driver.agent = None
    driver.turn()
    driver.catch_up()

    assert_as_replayed(stream, hot, durable)
    assert_history_has_each_event_once(stream, durable)


@pytest.mark.parametrize("beside", [False, True])
@settings(max_examples=80)
@given(streams, sizes, st.integers(0, 8), st.integers(0, 8), st.booleans(), failures)
def test_a_hot_store_that_is_put_back_from_a_copy_gets_what_it_lacks(
    beside: bool,
    stream: list[Event],
    cut: list[int],
    before: int,
    after: int,
    killed: bool,
    failing: Mapping[int, Exception],
) -> None:
    gate = Gate()
    hot, durable = MemoryStore(gate), MemoryStore(gate)
    driver = Driver(lambda: agent_over(hot, durable, beside=beside), stream, cut)
    gate.failures = dict(failing)
    for _ in range(before):
        driver.turn()
    copy = copy_of(hot)
    for _ in range(after):
        driver.turn()
    hot.states = copy.states
    if killed:
        driver.agent = None
    driver.catch_up()
    gate.failures.clear()
    driver.turn()
    driver.catch_up()

    assert_as_replayed(stream, hot, durable)


def copy_of(store: MemoryStore) -> MemoryStore:
    copy = MemoryStore()
    copy.states = {kind: dict(states) for kind, states in store.states.items()}
    copy.rows, copy.profiles = dict(store.rows), dict(store.profiles)
    return copy


@pytest.mark.parametrize("away_in_between", [False, True])
def test_a_state_loaded_from_a_durable_store_that_was_put_back_is_not_folded_on(
    away_in_between: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable, members_held=1, beside=True)
    stream = [play(1), play(2), play(3, "n"), play(4)]
    agent.assigned([PLACE])
    agent.process(batch_of(stream, 0, 1))
    agent.write()
    copy = copy_of(durable)
    agent.process(batch_of(stream, 1, 2))
    agent.write()
    agent.process(batch_of(stream, 2, 3))
    agent.write()  # m is not in memory any more
    durable.states = copy.states
    before = dict(hot.scan("member"))
    if away_in_between:

        def away(kind: str, keys: Sequence[bytes]) -> list[int]:
            if kind != "member":
                raise TryAgain("away")
            return MemoryStore.positions(durable, kind, keys)

        monkeypatch.setattr(durable, "positions", away)
        with pytest.raises(TryAgain):
            agent.process(batch_of(stream, 3, 4))
        monkeypatch.undo()
    with pytest.raises(Fenced, match="replaced"):
        agent.process(batch_of(stream, 3, 4))
    assert dict(hot.scan("member")) == before


def test_a_mark_of_another_epoch_says_nothing_of_this_one() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable)
    assert agent.assigned([PLACE]) == {PLACE: 0}
    agent.process(batch_of([play(1), play(2)]))
    agent.flush(NOW_MS)

    assert agent_over(hot, durable).assigned([PLACE]) == {PLACE: 2}
    assert agent_over(hot, durable, epoch=EPOCH + 1).assigned([PLACE]) == {PLACE: 0}


def test_a_durable_store_that_was_replaced_is_noticed_without_new_records() -> None:
    durable = MemoryStore()
    agent = agent_over(MemoryStore(), durable)
    agent.assigned([PLACE])
    agent.process(batch_of([play(1)]))
    agent.flush(NOW_MS)
    durable.states.clear()

    with pytest.raises(Fenced, match="replaced"):
        agent.flush(NOW_MS)
    agent.revoked([PLACE])
    assert agent.flush(NOW_MS) == {}


def test_a_title_held_in_memory_catches_up_where_another_owner_has_gone_ahead() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    stream = [play(1, member="x"), play(2, member="m"), play(3, member="x")]
    paused, owner = agent_over(hot, durable), agent_over(hot, durable)
    paused.process(batch_of(stream, 0, 1))
    paused.flush(NOW_MS)
    owner.process(batch_of(stream, 0, 2))
    owner.flush(NOW_MS)
    for start in (1, 2):
        paused.process(batch_of(stream, start, start + 1))
    paused.flush(NOW_MS)

    assert_as_replayed(stream, hot, durable)


def test_writes_go_titles_then_history_then_members_each_hot_first_and_the_mark_last() -> None:
    log: list[str] = []

    class Logged(MemoryStore):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def put(self, kind: str, entries: Sequence[StateEntry]) -> list[bool]:
            log.append(f"{self.name} {kind}")
            return super().put(kind, entries)

        def append_history(self, rows: object) -> None:
            log.append(f"{self.name} history")

        def put_profiles(self, profiles: object) -> None:
            log.append(f"{self.name} profiles")

    agent = agent_over(Logged("hot"), Logged("durable"))
    agent.assigned([PLACE])
    agent.process(batch_of([play(1)]))
    agent.flush(NOW_MS)

    assert [line for line in log if MARKER_KIND not in line] == [
        "hot title",
        "durable title",
        "durable history",
        "durable profiles",
        "hot member",
        "durable member",
        "durable folded",
    ]


def test_what_is_written_says_how_far_to_commit() -> None:
    agent = agent_over(MemoryStore(), MemoryStore())
    stream = [play(number) for number in range(5)]

    assert agent.flush(NOW_MS) == {}
    agent.process(batch_of(stream, 0, 3))
    assert agent.flush(NOW_MS) == {PLACE: 3}
    agent.process(batch_of(stream, 3, 5))
    assert agent.flush(NOW_MS) == {PLACE: 5}
    agent.process(Batch(MEMBER_EVENTS, 0, EPOCH, []))
    assert agent.flush(NOW_MS) == {PLACE: 5}
    agent.revoked([PLACE])
    assert agent.flush(NOW_MS) == {}


def test_an_agent_that_is_behind_gathers_writes_up_to_a_bound() -> None:
    hot = MemoryStore()
    agent = agent_over(hot, MemoryStore())
    stream = [play(number) for number in range(UNWRITTEN_RECORDS + 1)]
    late_ms = batch_of(stream).records[-1].timestamp_ms + BEHIND_MS
    agent.process(batch_of(stream, 0, BUSY_RECORDS))

    assert agent.flush(late_ms) == {}
    assert agent.flush(late_ms) == {PLACE: BUSY_RECORDS}, "nothing came in since, so all is written"

    agent.process(batch_of(stream, BUSY_RECORDS, None))
    assert agent.flush(late_ms) == {PLACE: BUSY_RECORDS}
    agent.process(batch_of(stream, 0, BUSY_RECORDS))
    assert agent.flush(late_ms) != {PLACE: BUSY_RECORDS}, "no more than the bound waits"


def test_an_agent_that_is_behind_and_writes_beside_its_fold_still_publishes_now_and_then() -> None:
    hot = MemoryStore()
    agent = agent_over(hot, MemoryStore(), beside=True)
    stream = [play(number) for number in range(3 * BUSY_RECORDS)]
    late_ms = batch_of(stream).records[-1].timestamp_ms + BEHIND_MS
    positions = []
    for step, after_ms in enumerate((0, PUBLISHED_BEHIND_MS - 1, PUBLISHED_BEHIND_MS)):
        agent.process(batch_of(stream, step * BUSY_RECORDS, (step + 1) * BUSY_RECORDS))
        agent.flush(late_ms + after_ms)
        positions.append(unpack_position(hot.positions("member", [b"m"])[0])[1])

    assert positions == [BUSY_RECORDS - 1, BUSY_RECORDS - 1, 3 * BUSY_RECORDS - 1]


@pytest.mark.parametrize("took_ms", [REST_MS + 7, 3_600_000])
def test_writes_beside_the_fold_rest_in_between_and_after_a_long_one_as_long_as_it_took_up_to_a_bound(
    took_ms: int,
) -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable, beside=True)
    stream = [play(number) for number in range(20)]
    began = REST_MS + 3  # of the second write
    ended = began + took_ms
    second = (began - 1, began, began + 1, ended - 1, ended)
    rested = ended + min(took_ms, MAX_REST_MS)
    times_ms = (0, 1, 2, 3, *second, rested - 1, rested, rested + 1, rested + 2, rested + 3)
    stored = []
    for step, after_ms in enumerate(times_ms):
        agent.process(batch_of(stream, step, step + 1))
        agent.flush(NOW_MS + after_ms)
        assert unpack_position(hot.positions("member", [b"m"])[0])[1] == step  # published at each turn
        position = durable.positions("member", [b"m"])[0]
        stored.append(unpack_position(position)[1] if position != NOTHING else None)
    assert stored == [None] * 3 + [0] * 5 + [5] * 5 + [10]  # each is done at the third look
    agent.flush(NOW_MS)  # a clock that was put back is no reason to rest until it is where it was
    agent.write()
    assert unpack_position(durable.positions("member", [b"m"])[0])[1] == len(times_ms) - 1


def test_an_agent_that_keeps_up_writes_at_once_however_busy() -> None:
    agent = agent_over(MemoryStore(), MemoryStore())
    batch = batch_of([play(number) for number in range(2 * BUSY_RECORDS)])
    agent.process(batch)

    assert agent.flush(batch.records[-1].timestamp_ms + BEHIND_MS - 1) == {PLACE: 2 * BUSY_RECORDS}


class ReadOnly(MemoryStore):
    """A store that is locked: it can be read, not written."""

    def put(self, kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        raise TryAgain("locked")


def test_while_stores_can_be_read_but_not_written_no_more_than_the_bound_is_taken_in() -> None:
    agent = agent_over(MemoryStore(), ReadOnly())
    stream = [play(number) for number in range(UNWRITTEN_RECORDS + BUSY_RECORDS)]
    agent.process(batch_of(stream, 0, UNWRITTEN_RECORDS))

    with pytest.raises(TryAgain, match="locked"):
        agent.process(batch_of(stream, UNWRITTEN_RECORDS))


def test_a_turns_batches_are_loaded_in_one_go_for_all_their_partitions() -> None:
    hot, durable = ReadsCounted(), ReadsCounted()
    agent = agent_over(hot, durable, partitions=3)
    members = {partition_for(name.encode(), 3): name for name in map("m{}".format, range(20))}
    streams = [[play(number, members[partition]) for number in range(20)] for partition in range(3)]
    turns = [[batches(stream, [10], partition)[turn] for partition, stream in enumerate(streams)] for turn in (0, 1)]
    agent.assigned([TopicPartition(MEMBER_EVENTS, partition) for partition in range(3)])
    for batch in turns[0]:
        agent.process(batch)
    agent.write()
    before = hot.reads
    agent.prepare(turns[1])
    assert hot.reads - before == 1  # whether members were deleted; all else is held
    before = hot.reads, durable.reads
    for batch in turns[1]:
        agent.process(batch)
    assert (hot.reads, durable.reads) == before
    agent.write()
    for partition, stream in enumerate(streams):
        expected = replay(batches(stream, partition=partition), CATALOGUE).packed()
        for kind in (MEMBER.name, TITLE.name):
            assert expected[kind].items() <= dict(hot.scan(kind)).items()


def test_closing_writes_what_is_held() -> None:
    hot = MemoryStore()
    agent = agent_over(hot, MemoryStore())
    agent.process(batch_of([play(number) for number in range(BUSY_RECORDS)]))
    agent.flush(NOW_MS)
    agent.close()

    assert len(hot.states["member"]) == 1


def test_no_more_states_stay_in_memory_than_the_bound() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable, members_held=8)
    stream = [play(number, member=f"m{number % 50}") for number in range(200)]
    for start in range(0, 200, 5):
        agent.process(batch_of(stream, start, start + 5))
        agent.flush(NOW_MS)
        assert all(len(held.members.states) <= 8 for held in agent._partitions.values())

    assert_as_replayed(stream, hot, durable)


def test_dead_letters_do_not_hold_up_the_rest() -> None:
    letters = Letters()
    hot = MemoryStore()
    agent = agent_over(hot, MemoryStore(), letters)
    good, unknown = encode_event(play(1)), encode_event(play(2, item_id="nowhere"))
    records = [Record(offset, NOW_MS, b"m", value) for offset, value in enumerate([b"{", unknown, good, b"\xff"])]
    agent.process(Batch(MEMBER_EVENTS, 0, EPOCH, records))

    assert agent.flush(NOW_MS) == {PLACE: 4}
    assert letters.reasons == ["malformed", "unknown-title", "malformed"]
    assert len(hot.states["member"]) == 1


def test_a_batch_of_dead_letters_only_is_committed_too() -> None:
    agent = agent_over(MemoryStore(), MemoryStore())
    agent.process(Batch(MEMBER_EVENTS, 0, EPOCH, [Record(0, NOW_MS, b"", b"junk")]))

    assert agent.flush(NOW_MS) == {PLACE: 1}


def test_while_dead_letters_cannot_be_put_the_batch_is_tried_again() -> None:
    letters, hot, durable = Letters(), MemoryStore(), MemoryStore()
    letters.away = TryAgain("the log is away")
    agent = agent_over(hot, durable, letters)
    batch = Batch(MEMBER_EVENTS, 0, EPOCH, [*batch_of([play(1)]).records, Record(1, NOW_MS, b"", b"junk")])
    with pytest.raises(TryAgain):
        agent.process(batch)
    letters.away = None
    agent.process(batch)
    agent.flush(NOW_MS)

    assert letters.reasons == ["malformed"]
    assert_as_replayed([play(1)], hot, durable)


def catalogue_database(folder: Path) -> sa.Engine:
    return sa.create_engine(f"sqlite:///{folder / 'catalogue.db'}")


def test_a_title_published_meanwhile_is_found_by_reading_the_catalogue_again(tmp_path: Path) -> None:
    engine = catalogue_database(tmp_path)
    publish_titles(engine, [Title("t1", "One", 2000, ("Drama",))], NOW_MS - DAY_MS)
    letters = Letters()
    agent = FeatureAgent(
        CatalogueSource(engine), MemoryStore(), MemoryStore(), letters, OneEpoch(EPOCH), clock_ms=lambda: NOW_MS
    )
    agent.process(batch_of([play(1)]))
    publish_titles(engine, [Title("t2", "Two", 2001, ("Comedy",))], NOW_MS)
    record = Record(1, NOW_MS + GRACE_MS, b"m", encode_event(play(2, item_id="t2")))
    agent.process(Batch(MEMBER_EVENTS, 0, EPOCH, [record]))

    assert letters.reasons == []
    engine.dispose()


def test_the_catalogue_is_not_read_again_for_records_older_than_it() -> None:
    reads = 0

    def source() -> Catalogue:
        nonlocal reads
        reads += 1
        return CATALOGUE

    letters = Letters()
    agent = FeatureAgent(source, MemoryStore(), MemoryStore(), letters, OneEpoch(EPOCH), clock_ms=lambda: NOW_MS)
    old = [Record(n, NOW_MS - 1, b"m", encode_event(play(n, item_id=f"x{n}"))) for n in range(20)]
    agent.process(Batch(MEMBER_EVENTS, 0, EPOCH, old))

    assert reads == 1
    assert letters.reasons == ["unknown-title"] * 20


def test_a_catalogue_that_is_away_means_try_again() -> None:
    engine = sa.create_engine("sqlite:////nowhere/at/all.db")
    agent = FeatureAgent(CatalogueSource(engine), MemoryStore(), MemoryStore(), Letters(), OneEpoch(EPOCH))
    with pytest.raises(TryAgain, match="catalogue"):
        agent.process(batch_of([play(1)]))
    engine.dispose()


def test_profiles_have_the_newest_context_and_the_times_of_first_and_last_event() -> None:
    durable = MemoryStore()
    agent = agent_over(MemoryStore(), durable)
    stream = [
        play(5, context={"country": "SE", "device": "tv"}),
        play(9, context={"country": "FR"}),
        play(2, context={"country": "DE", "device": "phone"}),
    ]
    agent.process(batch_of(stream))
    agent.flush(NOW_MS)
    profile = durable.profile("m")

    assert profile is not None
    assert (profile.country, profile.device) == ("FR", "tv")
    assert (profile.first_seen_ms, profile.last_seen_ms) == (NOW_MS + 2, NOW_MS + 9)


def test_a_forgotten_member_does_not_come_back_from_memory() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable)
    stream = [play(1, item_id="t1"), play(2, item_id="t2")]
    agent.process(batch_of(stream, 0, 1))
    agent.flush(NOW_MS)
    forget_member("m", hot, durable)
    agent.process(batch_of(stream, 1, 2))
    agent.flush(NOW_MS)

    state = MEMBER.unpack(hot.states["member"][b"m"])
    assert [entry.item_id for entry in history(state)] == ["t2"]


def test_a_member_forgotten_before_the_write_does_not_come_back_either() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable)
    stream = [play(1, item_id="t1"), play(2, item_id="t2")]
    agent.process(batch_of(stream, 0, 1))
    forget_member("m", hot, durable, floor=pack_position(EPOCH, 0))
    agent.flush(NOW_MS)
    assert not durable.rows
    assert not durable.profiles
    agent.process(batch_of(stream, 1, 2))
    agent.flush(NOW_MS)

    state = MEMBER.unpack(hot.states["member"][b"m"])
    assert [entry.item_id for entry in history(state)] == ["t2"]


def test_a_member_forgotten_before_the_write_does_not_come_back_with_the_next_event() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable)
    stream = [play(1, item_id="t1", context={"country": "SE"}), play(2, item_id="t2")]
    agent.process(batch_of(stream, 0, 1))
    forget_member("m", hot, durable, floor=pack_position(EPOCH, 0))
    agent.process(batch_of(stream, 1, 2))
    agent.flush(NOW_MS)

    state = MEMBER.unpack(hot.states["member"][b"m"])
    assert [entry.item_id for entry in history(state)] == ["t2"]
    assert [row.item_id for row in durable.history("m", 10)] == ["t2"]
    assert durable.profiles["m"].country == ""


@pytest.mark.parametrize("beside", [False, True])
def test_a_member_forgotten_up_to_an_event_to_come_leaves_nothing_that_was_not_written(beside: bool) -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable, beside=beside)
    stream = [play(1, item_id="t1", context={"country": "SE"}), play(2, item_id="t2")]
    agent.process(batch_of(stream, 0, 1))
    forget_member("m", hot, durable, floor=pack_position(EPOCH, 1))
    agent.process(batch_of(stream, 1, 2))
    agent.write()

    assert not durable.rows
    assert not durable.profiles
    assert hot.get("member", [b"m"]) == durable.get("member", [b"m"]) == [None]


def test_a_member_forgotten_while_later_events_are_unwritten_comes_back_with_those_alone() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    stream = [play(1, item_id="t1"), play(2, item_id="t2"), play(3, item_id="t3")]
    driver = Driver(lambda: agent_over(hot, durable), stream[:1], [1])
    driver.run()
    agent = driver.agent
    assert agent is not None
    agent.process(batch_of(stream, 1, 2))
    forget_member("m", hot, durable, floor=pack_position(EPOCH, 0))
    with pytest.raises(Fenced, match="deleted"):
        agent.flush(NOW_MS)
    agent.revoked([PLACE])
    driver.stream, driver.agent = stream, None
    driver.catch_up()

    state = MEMBER.unpack(hot.states["member"][b"m"])
    assert [entry.item_id for entry in history(state)] == ["t3", "t2"]
    assert [row.item_id for row in durable.history("m", 10)] == ["t3", "t2"]
    assert TITLE.result(TITLE.unpack(hot.states["title"][title_key("t2", 0)]), NOW_MS)["count:1d"] == 1.0


def test_a_redelivery_does_not_bring_a_forgotten_member_back() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable)
    stream = [play(1), play(2)]
    agent.process(batch_of(stream))
    agent.flush(NOW_MS)
    forget_member("m", hot, durable)
    again = agent_over(hot, durable)
    again.process(batch_of(stream))
    again.flush(NOW_MS)

    assert list(hot.scan("member")) == list(durable.scan("member")) == []
    assert TITLE.result(TITLE.unpack(hot.states["title"][title_key("t1", 0)]), NOW_MS)["count:1d"] == 2.0


def test_a_state_of_another_version_is_left_alone_and_the_agent_waits() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable)
    agent.process(batch_of([play(1)]))
    agent.flush(NOW_MS)
    for store in (hot, durable):
        value = store.states["member"][b"m"]
        store.states["member"][b"m"] = value[:8] + b"\xff\xff\xff\xff" + value[12:]
    again = agent_over(hot, durable)
    with pytest.raises(TryAgain, match="marquee rebuild"):
        again.process(batch_of([play(1), play(2)], 1))


def test_a_member_state_that_cannot_be_read_is_rebuilt_from_the_history() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable)
    stream = [play(1, item_id="t1"), play(2, item_id="t2"), play(3, item_id="t3")]
    agent.process(batch_of(stream, 0, 2))
    agent.flush(NOW_MS)
    for store in (hot, durable):
        value = store.states["member"][b"m"]
        store.states["member"][b"m"] = value[:20]
    again = agent_over(hot, durable)
    again.process(batch_of(stream, 2, 3))
    again.flush(NOW_MS)

    state = MEMBER.unpack(hot.states["member"][b"m"])
    assert [entry.item_id for entry in history(state)] == ["t3", "t2", "t1"]
    assert MEMBER.result(state, NOW_MS)["count:play:1d"] == 3.0
    assert state.position == pack_position(EPOCH, 2)


def test_a_title_state_that_cannot_be_read_starts_anew_without_counting_twice() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable)
    stream = [play(1), play(2), play(3)]
    agent.process(batch_of(stream, 0, 2))
    agent.flush(NOW_MS)
    for store in (hot, durable):
        store.states["title"][title_key("t1", 0)] = store.states["title"][title_key("t1", 0)][:15]
    again = agent_over(hot, durable)
    again.process(batch_of(stream))
    again.flush(NOW_MS)

    assert TITLE.result(TITLE.unpack(hot.states["title"][title_key("t1", 0)]), NOW_MS)["count:1d"] == 1.0


def test_a_new_epoch_of_the_log_goes_on_from_the_states_of_the_last() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable)
    agent.process(batch_of([play(1), play(2)]))
    agent.flush(NOW_MS)
    agent.process(Batch(MEMBER_EVENTS, 0, EPOCH + 1, batch_of([play(3)]).records))
    agent.flush(NOW_MS)

    state = MEMBER.unpack(hot.states["member"][b"m"])
    assert state.position == pack_position(EPOCH + 1, 0)
    assert len(history(state)) == 3


def test_a_refill_copies_every_kind_and_is_done_once() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    for kind in KINDS:
        durable.put(kind, [StateEntry(b"k", (7).to_bytes(8, "big") + b"payload")])
    watch = HotStoreWatch(hot, durable, run=lambda work: work())
    watch.look()
    puts = len(hot.puts)
    watch.look()

    assert all(hot.states[kind] == durable.states[kind] for kind in KINDS)
    assert len(hot.puts) == puts


def test_a_refill_that_fails_is_begun_again() -> None:
    hot, durable = MemoryStore(), MemoryStore()
    durable.put("member", [StateEntry(b"k", (7).to_bytes(8, "big") + b"payload")])
    watch = HotStoreWatch(hot, durable, run=lambda work: work())
    durable.away = TryAgain("locked")
    watch.look()
    assert hot.states.get("member") is None
    durable.away = None
    watch.look()

    assert hot.states["member"] == durable.states["member"]


def embedded(folder: Path) -> tuple[EmbeddedHotStore, SqliteDurableStore]:
    return EmbeddedHotStore(folder / "hot", 64 << 20), SqliteDurableStore(folder / "durable.db")


def test_the_embedded_stores_end_as_the_replay_says(tmp_path: Path) -> None:
    hot, durable = embedded(tmp_path)
    stream = generated(1_500, 20)
    Driver(lambda: agent_over(hot, durable), stream, [700, 3, 50]).run()

    assert_as_replayed(stream, hot, durable)
    rows = sum(len(durable.history(f"m{number}", 10_000)) for number in range(20))
    assert rows == len({event.event_id for event in stream})
    hot.close()
    durable.close()


def test_movielens_in_the_embedded_stores_is_as_replayed(tmp_path: Path) -> None:
    dataset = read_movielens(folder_or_skip("ml-latest-small"))
    catalogue = Catalogue(dataset.titles)
    stream = dataset.events[:5_000]
    hot, durable = embedded(tmp_path)
    Driver(lambda: agent_over(hot, durable, source=lambda: catalogue), stream, [1_000, 10]).run()

    assert_as_replayed(stream, hot, durable, catalogue=catalogue)
    hot.close()
    durable.close()


@pytest.mark.parametrize("in_memory", [1, 2])
def test_a_forgotten_member_stays_forgotten_though_the_hot_store_was_emptied(in_memory: int) -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable)
    stream = [play(1), play(2), play(3)]
    agent.process(batch_of(stream, 0, 1))
    agent.flush(NOW_MS)
    agent.process(batch_of(stream, 1, in_memory))
    forget_member("m", hot, durable)
    hot.states.clear()
    if in_memory == 1:
        agent.process(batch_of(stream, 1, 3))
        agent.flush(NOW_MS)
        assert len(history(MEMBER.unpack(hot.states["member"][b"m"]))) == 2
    else:
        with pytest.raises(Fenced, match="deleted"):
            agent.flush(NOW_MS)


@pytest.mark.parametrize("same_agent", [True, False])
def test_a_hot_store_put_back_from_an_older_copy_is_noticed_before_its_members_come_again(same_agent: bool) -> None:
    hot, durable = MemoryStore(), MemoryStore()
    agent = agent_over(hot, durable)
    agent.assigned([PLACE])
    stream = [play(1), play(2), play(3, "other")]
    agent.process(batch_of(stream, 0, 1))
    agent.flush(NOW_MS)
    older = copy_of(hot).states
    agent.process(batch_of(stream, 1, 3))
    agent.flush(NOW_MS)
    hot.states = older
    if not same_agent:
        agent = agent_over(hot, durable)
        agent.assigned([PLACE])
    agent.flush(NOW_MS)

    assert_as_replayed(stream, hot, durable)
    puts = len(hot.puts)
    agent.flush(NOW_MS)
    assert len(hot.puts) == puts


def test_a_hot_store_emptied_in_mid_write_and_refilled_by_another_gets_what_was_written_before() -> None:
    stream = [play(1), play(2)]

    class Emptied(MemoryStore):
        """Durable; the hot store is emptied and refilled by another worker just before members are written to it."""

        due = False

        def write(self, kind: str, entries: Sequence[StateEntry]) -> None:
            if kind == "member" and self.due:
                self.due = False
                hot.states.clear()
                HotStoreWatch(hot, self, run=lambda work: work()).look()
            super().write(kind, entries)

    hot, durable = MemoryStore(), Emptied()
    agent = agent_over(hot, durable)
    agent.assigned([PLACE])
    agent.process(batch_of(stream, 0, 1))
    agent.flush(NOW_MS)
    agent.process(batch_of(stream, 1, 2))
    durable.due = True
    with pytest.raises(TryAgain, match="lost"):
        agent.flush(NOW_MS)
    agent.flush(NOW_MS)

    assert_as_replayed(stream, hot, durable)


@pytest.mark.parametrize("beside", [False, True])
def test_what_was_folded_before_dead_letters_were_away_is_written_with_its_history(beside: bool) -> None:
    hot, durable, letters = MemoryStore(), MemoryStore(), Letters()
    agent = agent_over(hot, durable, letters, beside=beside)
    stream = [play(0), play(1), play(2, item_id="nowhere"), play(3)]
    agent.assigned([PLACE])
    agent.process(batch_of(stream, 0, 1))
    agent.write()
    letters.away = TryAgain("away")

    with pytest.raises(TryAgain):
        agent.process(batch_of(stream, 1))
    for _ in range(5):
        agent.flush(NOW_MS)
    letters.away = None
    agent.process(batch_of(stream, 1))
    agent.write()

    assert_as_replayed(stream, hot, durable)
    assert_history_has_each_event_once(stream, durable)


class Kept(OneEpoch):
    """A log that still has these records."""

    def __init__(self, records: Sequence[Record]) -> None:
        super().__init__(EPOCH)
        self.records = records

    def read(self, topic: str, partition: int, offset: int, max_records: int) -> list[Record]:
        return [record for record in self.records if record.offset >= offset][:max_records]


def test_records_that_a_consumer_passes_over_are_noticed_and_those_that_the_log_no_longer_has_are_not() -> None:
    stream = [play(number) for number in range(6)]
    whole = batch_of(stream).records
    for kept, is_noticed in ((whole, True), (whole[4:], False)):
        agent = FeatureAgent(lambda: CATALOGUE, MemoryStore(), MemoryStore(), Letters(), Kept(kept))
        agent.assigned([PLACE])
        agent.process(batch_of(stream, 0, 2))
        if is_noticed:
            with pytest.raises(Fenced, match="from 2 on were passed over, to 4"):
                agent.process(batch_of(stream, 4))
        else:
            agent.process(batch_of(stream, 4))
