"""The durable store on Cassandra: the contract, and what its timestamps promise beside it."""

from __future__ import annotations

import random
import threading
import tracemalloc
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from streams.errors import FixRequest, TryAgain
from streams.positions import NOTHING
from streams.settings import Settings
from streams.stores.cassandra.profiles import SLOT_MS, WEEK_MS
from streams.stores.cassandra.states import MAX_VALUE_BYTES
from streams.stores.cassandra.store import CassandraDurableStore
from streams.stores.protocol import HistoryRow, Profile, StateEntry, tombstone
from tests.streams.stores.cassandra_places import driver_session, own_keyspace, patient
from tests.streams.stores.contract import DurableStoreContract
from tests.streams.stores.engines import entry

NOW_MS = 1_790_000_000_000


@pytest.fixture(scope="module")
def keyspace_url(cassandra_url: str) -> Iterator[str]:
    with own_keyspace(cassandra_url) as url:
        yield url


class TestCassandraDurableStore(DurableStoreContract):
    engine = "cassandra"
    histories = 8

    @pytest.fixture
    def new_place(self, keyspace_url: str) -> Callable[[], str]:
        return lambda: f"{keyspace_url}#{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="module")
def stores(keyspace_url: str) -> Iterator[list[CassandraDurableStore]]:
    stores = [patient(keyspace_url) for _ in range(2)]
    yield stores
    for store in stores:
        store.close()


@pytest.fixture
def store(stores: list[CassandraDurableStore]) -> CassandraDurableStore:
    return stores[0]


@pytest.fixture
def kind() -> str:
    return f"member@{uuid.uuid4().hex[:12]}"


@pytest.fixture
def member_id() -> str:
    return uuid.uuid4().hex


def _in_threads(*work: Callable[[], object]) -> None:
    errors: list[BaseException] = []

    def run(one: Callable[[], object]) -> None:
        try:
            one()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def _row(member_id: str, position: int, item_id: str = "i") -> HistoryRow:
    return HistoryRow(member_id, position, NOW_MS + position, "play", item_id)


def test_of_writers_that_do_not_look_first_the_highest_position_wins(
    stores: Sequence[CassandraDurableStore], kind: str
) -> None:
    def write(store: CassandraDurableStore, seed: int) -> Callable[[], None]:
        entries = [entry(b"%d" % key, position, b"%d" % position) for key in range(5) for position in range(1, 41)]
        random.Random(seed).shuffle(entries)

        def run() -> None:
            for start in range(0, len(entries), 10):
                store.write(kind, entries[start : start + 10])

        return run

    _in_threads(*(write(stores[seed % 2], seed) for seed in range(4)))
    assert stores[0].get(kind, [b"%d" % key for key in range(5)]) == [entry(b"", 40, b"40").value] * 5


def test_a_write_that_does_not_look_first_keeps_the_rules_of_put(store: CassandraDurableStore, kind: str) -> None:
    store.write(kind, [entry(b"a", 5, b"5"), entry(b"a", 7, b"7"), entry(b"a", 6, b"6"), entry(b"b", NOTHING)])
    store.write(kind, [])
    assert store.get(kind, [b"a", b"b"]) == [entry(b"a", 7, b"7").value, None]
    store.write(kind, [StateEntry(b"a", tombstone(7))])
    store.write(kind, [entry(b"a", 7, b"7")])
    assert (store.get(kind, [b"a"]), store.positions(kind, [b"a"])) == ([None], [7])
    assert store.put(kind, [entry(b"a", 7, b"7")]) == [False]
    store.write(kind, [entry(b"a", 8, b"8")])
    assert store.get(kind, [b"a"]) == [entry(b"a", 8, b"8").value]


def test_a_value_that_comes_back_after_its_deletion_was_forgotten_stays_deleted(
    keyspace_url: str, store: CassandraDurableStore, kind: str
) -> None:
    """As of a replica that was away for longer than gc_grace: it has the old value, and nothing is newer."""
    store.write(kind, [StateEntry(b"a", tombstone(7))])
    keyspace = keyspace_url.rpartition("/")[2]
    with driver_session(keyspace_url) as session:
        session.execute(
            f"INSERT INTO {keyspace}.states_member (kind, key, value) VALUES (%s, %s, %s) USING TIMESTAMP 8",
            (kind, b"a", entry(b"a", 5).value),
        )
    assert (store.get(kind, [b"a"]), store.positions(kind, [b"a"]), list(store.scan(kind))) == ([None], [7], [])
    assert store.versions(kind, [b"a"]) == [15]


def test_a_record_is_written_by_one_of_those_who_try_at_the_same_position(
    stores: Sequence[CassandraDurableStore],
) -> None:
    kind = f"record@{uuid.uuid4().hex[:12]}"
    for position in range(1, 4):
        written: dict[bytes, bool] = {}

        def put(number: int, position: int = position, written: dict[bytes, bool] = written) -> None:
            value = entry(b"a", position, b"%d" % number)
            written[value.value] = stores[number % 2].put(kind, [value])[0]

        _in_threads(*(lambda number=number: put(number) for number in range(4)))
        assert [value for value, is_first in written.items() if is_first] == stores[0].get(kind, [b"a"])


def test_a_value_larger_than_a_node_takes_is_refused_by_name_and_the_largest_is_kept(
    store: CassandraDurableStore, kind: str
) -> None:
    largest = entry(b"a", 1, bytes(MAX_VALUE_BYTES - 8))
    store.write(kind, [largest])
    assert store.get(kind, [b"a"]) == [largest.value]
    with pytest.raises(FixRequest, match="value"):
        store.write(kind, [entry(b"a", 2, bytes(MAX_VALUE_BYTES))])


def test_a_scan_holds_a_page_in_memory_however_many_states_there_are(store: CassandraDurableStore, kind: str) -> None:
    for start in range(0, 5_000, 1_000):
        store.write(kind, [entry(b"%d" % number, 1, bytes(2_000)) for number in range(start, start + 1_000)])
    tracemalloc.start()
    states = sum(1 for _ in store.scan(kind))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert states == 5_000
    assert peak < 3_000_000  # all of them are 10 MB


def test_a_dropped_kind_is_gone_page_by_page(store: CassandraDurableStore, kind: str) -> None:
    store.write(kind, [entry(b"%d" % number, 7) for number in range(2_500)])
    store.write(kind, [StateEntry(b"0", tombstone(8))])
    other = f"{kind}0"
    store.write(other, [entry(b"a", 1)])
    assert [store.drop(kind, limit) for limit in (0, 1_100, 300, 1_100, 300, 300)] == [0, 1_100, 300, 1_100, 0, 0]
    assert store.positions(kind, [b"0", b"1"]) == [NOTHING, NOTHING]
    assert [key for key, _ in store.scan(other)] == [b"a"]


def test_rows_of_a_forgotten_member_stay_gone_when_they_are_delivered_again_and_later_ones_count(
    store: CassandraDurableStore, member_id: str
) -> None:
    store.append_history([_row(member_id, position) for position in range(1, 11)])
    assert store.forget(member_id) == 10
    store.append_history([_row(member_id, position) for position in range(5, 13)])
    assert [row.position for row in store.history(member_id, 100)] == [12, 11]
    assert store.forget(member_id) == 2


def test_a_long_history_is_read_and_forgotten_over_many_pages(store: CassandraDurableStore, member_id: str) -> None:
    store.append_history([_row(member_id, position) for position in range(1, 12_001)])
    assert [row.position for row in store.history(member_id, 11_000)] == list(range(12_000, 1_000, -1))
    assert store.forget(member_id) == 12_000
    assert store.history(member_id, 1) == []


def test_a_member_without_a_name_has_nothing(store: CassandraDurableStore) -> None:
    assert (store.history("", 10), store.profile(""), store.forget("")) == ([], None, 0)


def test_profiles_come_out_the_same_in_whatever_order_they_are_written(
    stores: Sequence[CassandraDurableStore], member_id: str
) -> None:
    profiles = [
        Profile(member_id, f"c{day}" if day % 3 else "", f"d{day}", NOW_MS - (day * 7 % 40) * 1_000, NOW_MS + day)
        for day in range(40)
    ]

    def put(store: CassandraDurableStore, seed: int) -> Callable[[], None]:
        shuffled = random.Random(seed).sample(profiles, len(profiles))

        def run() -> None:
            for start in range(0, len(shuffled), 4):
                store.put_profiles(shuffled[start : start + 4])

        return run

    _in_threads(*(put(stores[seed % 2], seed) for seed in range(4)))
    expected = Profile(member_id, "c38", "d39", NOW_MS - 39_000, NOW_MS + 39)
    assert [store.profile(member_id) for store in stores] == [expected, expected]


def test_a_forgotten_member_begins_anew_also_with_a_later_first_time(
    store: CassandraDurableStore, member_id: str
) -> None:
    for life in range(3):
        profile = Profile(member_id, "de", "", NOW_MS + life * 100, NOW_MS + life * 100 + 50)
        store.put_profiles([profile])
        assert store.profile(member_id) == profile
        assert store.forget(member_id) == 1
        assert store.profile(member_id) is None
        assert member_id not in store.member_ids(1_000)


def test_members_are_listed_once_where_they_were_last_seen_over_slots_and_weeks(
    stores: Sequence[CassandraDurableStore],
) -> None:
    prefix = uuid.uuid4().hex[:8]
    names = [f"{prefix}-{number}" for number in range(30)]
    seen: dict[str, int] = {}
    rng = random.Random(7)
    later_ms = NOW_MS + 1_000 * WEEK_MS  # later than what other tests list

    def put(store: CassandraDurableStore, profiles: list[Profile]) -> Callable[[], None]:
        return lambda: store.put_profiles(profiles)

    for _ in range(6):
        batches = []
        for _ in range(2):
            chosen = rng.sample(names, 20)
            times = [
                later_ms + rng.randrange(3) * WEEK_MS + rng.randrange(4) * SLOT_MS + rng.randrange(9) for _ in chosen
            ]
            batches.append([Profile(name, "", "", at, at) for name, at in zip(chosen, times, strict=True)])
            for name, at in zip(chosen, times, strict=True):
                seen[name] = max(seen.get(name, 0), at)
        _in_threads(*(put(store, batch) for store, batch in zip(stores, batches, strict=True)))
    expected = sorted(seen, key=lambda name: (seen[name], name), reverse=True)
    assert stores[0].member_ids(len(expected)) == expected
    assert stores[1].member_ids(3) == expected[:3]
    for name in expected[:15]:
        assert stores[0].forget(name) == 1
    assert stores[0].member_ids(15) == expected[15:]


def test_rows_live_as_long_as_the_settings_say(keyspace_url: str, member_id: str) -> None:
    store = CassandraDurableStore(Settings(durable_url=keyspace_url, history_ttl_s=1_000, cassandra_timeout_s=20))
    store.append_history([_row(member_id, 1)])
    store.close()
    keyspace = keyspace_url.rpartition("/")[2]
    with driver_session(keyspace_url) as session:
        query = f"SELECT ttl(type) FROM {keyspace}.history WHERE member_id = %s"
        rows: list[Any] = list(session.execute(query, (member_id,)))
    assert 900 < rows[0][0] <= 1_000


def test_the_right_to_write_is_had_though_its_first_answer_was_lost_and_it_was_asked_for_again(
    store: CassandraDurableStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, kind = store._connection, uuid.uuid4().hex
    run = connection.run

    def run_again(statements: Iterable[Any], profile: str) -> list[Any]:
        again = list(statements)
        run(again, profile)
        return run(again, profile)

    monkeypatch.setattr(connection, "run", run_again)
    assert store.put(kind, [entry(b"k", 7)]) == [True]
    monkeypatch.undo()
    assert store.get(kind, [b"k"]) == [entry(b"k", 7).value]
    assert store.put(kind, [entry(b"k", 7)]) == [False]


@pytest.mark.parametrize("broken_at", [2, 3, 4])
def test_a_member_whose_first_write_broke_off_is_listed_once_it_is_tried_again(
    store: CassandraDurableStore, member_id: str, monkeypatch: pytest.MonkeyPatch, broken_at: int
) -> None:
    run, calls = store._connection.run, 0

    def breaks_once(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == broken_at:
            raise TryAgain("killed")
        return run(*arguments)

    store.member_ids(1)  # connects
    monkeypatch.setattr(store._connection, "run", breaks_once)
    profile = Profile(member_id, "de", "tv", 1_000, 4_102_444_000_000)
    with pytest.raises(TryAgain):
        store.put_profiles([profile])
    store.put_profiles([profile])

    assert store.profile(member_id) == profile
    assert member_id in store.member_ids(100)
