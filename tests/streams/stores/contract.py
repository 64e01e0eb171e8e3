"""What every StateStore engine must do, and what every DurableStore must do besides.

A test module subclasses a contract, names its engine, and for one that is not in files says with `new_place` where its
stores are. A later engine is held to the same suite.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from streams.errors import FixRequest
from streams.positions import NOTHING, pack_position
from streams.stores.entries import MAX_KEY_BYTES, MAX_VALUE_BYTES
from streams.stores.protocol import (
    DurableStore,
    HistoryRow,
    Profile,
    StateEntry,
    StateStore,
    position_of,
    tombstone,
)
from tests.streams.stores.engines import DURABLE, ENGINES, entry
from tests.streams.stores.writer import KEYS, payload

ROOT = Path(__file__).parents[3]
CHILDREN = 3
ROUNDS = 30


def _child(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.streams.stores.writer", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


class StateStoreContract:
    """The suite of any StateStore."""

    engine: ClassVar[str]
    histories: ClassVar[int] = 20
    """How many histories of writes are tried; fewer where each write goes over a network."""

    @pytest.fixture
    def new_place(self, tmp_path: Path) -> Callable[[], str]:
        """Return what gives a place (a folder, a URL) that holds no states; each call may end the one before."""
        numbers = itertools.count()
        return lambda: str(tmp_path / str(next(numbers)))

    @pytest.fixture
    def place(self, new_place: Callable[[], str]) -> str:
        return new_place()

    @pytest.fixture
    def store(self, place: str) -> Iterator[StateStore]:
        store = ENGINES[self.engine](place)
        yield store
        store.close()

    def test_an_absent_state_reads_as_none_at_no_position(self, store: StateStore) -> None:
        assert store.get("member", [b"a", b"b"]) == [None, None]
        assert store.positions("member", [b"a", b"b"]) == [NOTHING, NOTHING]
        assert list(store.scan("member")) == []

    def test_nothing_to_read_or_write_is_no_error(self, store: StateStore) -> None:
        assert (store.get("member", []), store.positions("member", []), store.put("member", [])) == ([], [], [])

    def test_values_come_back_in_the_order_of_the_keys(self, store: StateStore) -> None:
        store.put("member", [entry(b"a", 1, b"A"), entry(b"b", 2, b"B")])
        assert store.get("member", [b"b", b"x", b"a", b"b"]) == [
            entry(b"b", 2, b"B").value,
            None,
            entry(b"a", 1, b"A").value,
            entry(b"b", 2, b"B").value,
        ]
        assert store.positions("member", [b"b", b"x", b"a"]) == [2, NOTHING, 1]

    def test_kinds_are_apart(self, store: StateStore) -> None:
        store.put("member", [entry(b"a", 1)])
        assert store.put("title", [entry(b"a", 1, b"title")]) == [True]
        assert store.get("member", [b"a"]) != store.get("title", [b"a"])

    def test_only_a_higher_position_is_written(self, store: StateStore) -> None:
        assert store.put("member", [entry(b"a", 5, b"first")]) == [True]
        assert store.put("member", [entry(b"a", 5, b"again")]) == [False]
        assert store.put("member", [entry(b"a", 4, b"zombie")]) == [False]
        assert store.get("member", [b"a"]) == [entry(b"a", 5, b"first").value]
        assert store.put("member", [entry(b"a", 6, b"newer")]) == [True]
        assert store.get("member", [b"a"]) == [entry(b"a", 6, b"newer").value]

    def test_the_position_of_nothing_is_never_written(self, store: StateStore) -> None:
        assert store.put("member", [entry(b"a", NOTHING)]) == [False]
        assert store.get("member", [b"a"]) == [None]

    def test_a_batch_may_name_a_key_twice(self, store: StateStore) -> None:
        entries = [entry(b"a", 2, b"2"), entry(b"a", 1, b"1"), entry(b"a", 3, b"3")]
        assert store.put("member", entries) == [True, False, True]
        assert store.get("member", [b"a"]) == [entries[2].value]

    def test_positions_compare_as_numbers_over_their_whole_range(self, store: StateStore) -> None:
        for position in (1, 255, 256, 2**32, pack_position(1, 7), pack_position(2, 0), 2**63 - 1):
            assert store.put("member", [entry(b"a", position)]) == [True]
            assert store.positions("member", [b"a"]) == [position]
        assert store.put("member", [entry(b"a", pack_position(2, 1))]) == [False]

    def test_a_tombstone_reads_as_absent_and_refuses_older_writes(self, store: StateStore) -> None:
        store.put("member", [entry(b"a", 5), entry(b"b", 5)])
        assert store.put("member", [StateEntry(b"a", tombstone(8))]) == [True]
        assert store.get("member", [b"a"]) == [None]
        assert store.positions("member", [b"a"]) == [8]
        assert [key for key, _ in store.scan("member")] == [b"b"]
        assert store.put("member", [entry(b"a", 7)]) == [False]
        assert store.put("member", [entry(b"a", 9)]) == [True]

    def test_a_tombstone_wins_a_tie_once(self, store: StateStore) -> None:
        store.put("member", [entry(b"a", 5)])
        assert store.put("member", [StateEntry(b"a", tombstone(5)), StateEntry(b"a", tombstone(5))]) == [True, False]
        assert store.put("member", [entry(b"a", 5)]) == [False]
        assert store.get("member", [b"a"]) == [None]
        assert store.positions("member", [b"a"]) == [5]

    def test_every_write_raises_the_version_even_a_tombstone_at_the_same_position(self, store: StateStore) -> None:
        assert store.versions("member", [b"a"]) == [0]
        versions = []
        for write in (entry(b"a", 5), StateEntry(b"a", tombstone(5)), entry(b"a", 6), StateEntry(b"a", tombstone(8))):
            assert store.put("member", [write]) == [True]
            versions += store.versions("member", [b"x", b"a"])
        assert versions == [0, 10, 0, 11, 0, 12, 0, 17]
        assert store.versions("member", []) == []

    def test_states_outlive_the_object_that_wrote_them(self, place: str) -> None:
        store = ENGINES[self.engine](place)
        store.put("member", [entry(b"a", 5), StateEntry(b"b", tombstone(6))])
        store.close()
        again = ENGINES[self.engine](place)
        assert again.get("member", [b"a", b"b"]) == [entry(b"a", 5).value, None]
        assert again.positions("member", [b"a", b"b"]) == [5, 6]
        again.close()

    def test_two_stores_of_one_process_see_each_others_writes(self, store: StateStore, place: str) -> None:
        other = ENGINES[self.engine](place)
        store.put("member", [entry(b"a", 1)])
        assert other.positions("member", [b"a"]) == [1]
        other.close()
        assert store.positions("member", [b"a"]) == [1]

    def test_a_scan_yields_every_live_state_once_over_many_chunks(self, store: StateStore) -> None:
        keys = [b"%d" % number for number in range(2_500)]
        store.put("title", [entry(key, 1, key) for key in keys])
        store.put("title", [StateEntry(key, tombstone(2)) for key in keys[::3]])
        expected = sorted(set(keys) - set(keys[::3]))
        assert sorted(store.scan("title")) == [(key, entry(key, 1, key).value) for key in expected]

    def test_writes_beside_a_scan_neither_wait_nor_disturb_it(self, store: StateStore) -> None:
        store.put("title", [entry(b"%05d" % number, 1) for number in range(2_500)])
        scan = store.scan("title")
        seen = [next(scan)[0]]
        assert store.put("title", [entry(b"00000", 2)]) == [True]
        seen += [key for key, _ in scan]
        assert len(seen) == len(set(seen)) == 2_500

    def test_large_values_and_the_longest_keys_are_kept(self, store: StateStore) -> None:
        large = os.urandom(1 << 20)
        longest = b"\xff" * MAX_KEY_BYTES
        store.put("member", [entry(longest, 1, large), entry(b"\x00", 1, b"zero")])
        assert store.get("member", [longest, b"\x00"]) == [entry(b"", 1, large).value, entry(b"", 1, b"zero").value]
        assert sorted(key for key, _ in store.scan("member")) == [b"\x00", longest]

    @pytest.mark.parametrize(
        "bad",
        [
            entry(b"", 1),
            entry(b"x" * (MAX_KEY_BYTES + 1), 1),
            StateEntry(b"a", b"short"),
            StateEntry(b"a", b"\x80" + bytes(7) + b"negative"),
            StateEntry(b"a", bytes(MAX_VALUE_BYTES + 1)),
        ],
        ids=["empty key", "long key", "no position", "position of 64 bits", "huge value"],
    )
    def test_an_impossible_entry_is_refused_and_nothing_of_its_batch_written(
        self, store: StateStore, bad: StateEntry
    ) -> None:
        with pytest.raises(FixRequest):
            store.put("member", [entry(b"good", 1), bad])
        assert store.positions("member", [b"good"]) == [NOTHING]

    def test_reading_an_impossible_key_finds_nothing(self, store: StateStore) -> None:
        store.put("member", [entry(b"a", 1)])
        keys = [b"", b"x" * 100_000, b"a"]
        assert store.get("member", keys) == [None, None, entry(b"a", 1).value]
        assert store.positions("member", keys) == [NOTHING, NOTHING, 1]

    def test_thousands_of_keys_are_read_in_one_call(self, store: StateStore) -> None:
        keys = [b"%d" % number for number in range(3_000)]
        store.put("member", [entry(key, number + 1) for number, key in enumerate(keys)])
        assert store.positions("member", [*keys, b"x"]) == [*range(1, 3_001), NOTHING]

    def test_threads_share_a_store(self, store: StateStore) -> None:
        def write(first: int) -> None:
            for position in range(first, 200, 4):
                store.put("member", [entry(b"a", position, b"%d" % position)])
                assert store.positions("member", [b"a"])[0] >= position

        threads = [threading.Thread(target=write, args=(first,)) for first in range(1, 5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.get("member", [b"a"]) == [entry(b"a", 199, b"199").value]

    def test_of_several_writing_processes_the_highest_position_wins(self, store: StateStore, place: str) -> None:
        children = [
            _child(self.engine, place, "share", str(share), str(CHILDREN), str(ROUNDS)) for share in range(CHILDREN)
        ]
        for child in children:
            assert _pipe(child.stdout).readline() == "ready\n"
        for child in children:
            _pipe(child.stdin).write("go\n")
            _pipe(child.stdin).flush()
        for child in children:
            with child:
                assert child.wait(timeout=30) == 0
        highest = CHILDREN * ROUNDS
        assert store.get("member", KEYS) == [entry(b"", highest, b"%d" % highest).value] * len(KEYS)

    def test_a_killed_writer_leaves_whole_states_and_everything_it_had_written(
        self, store: StateStore, place: str
    ) -> None:
        first = 1
        for writes in (1, 7, 20):
            with _child(self.engine, place, "until-killed", str(first)) as child:
                said = [int(_pipe(child.stdout).readline()) for _ in range(writes)]
                child.send_signal(signal.SIGKILL)
                said += [int(line) for line in _pipe(child.stdout) if line.endswith("\n")]
            values = store.get("member", KEYS)
            for value in values:
                assert value is not None
                assert value[8:] == payload(position_of(value))
                assert position_of(value) >= said[-1]
            first = max(store.positions("member", KEYS)) + 1
            assert store.put("member", [entry(b"after", first)]) == [True]

    def test_a_dropped_kind_is_gone_in_steps_and_others_stay(self, store: StateStore) -> None:
        assert store.drop("member@2", 10) == 0
        keys = [b"%d" % number for number in range(25)]
        store.put("member@2", [entry(key, 7) for key in keys])
        store.put("member@2", [StateEntry(keys[0], tombstone(8))])
        store.put("member", [entry(b"a", 1)])
        steps = [store.drop("member@2", 10) for _ in range(4)]
        assert steps == [10, 10, 5, 0]
        assert store.positions("member@2", keys) == [NOTHING] * 25
        assert list(store.scan("member@2")) == []
        assert store.positions("member", [b"a"]) == [1]

    def test_any_history_of_writes_reads_as_a_dictionary_would(self, new_place: Callable[[], str]) -> None:
        run_state_machine_as_test(
            _machine(self.engine, new_place),
            settings=settings(max_examples=self.histories, stateful_step_count=15, deadline=None),
        )


_keys = st.sampled_from([b"a", b"b", b"\x00", b"\xff\xff", b"a\x00b"])
_kinds = st.sampled_from(["member", "title"])
_entries = st.builds(entry, _keys, st.integers(0, 12), st.binary(max_size=3))


def _machine(engine: str, new_place: Callable[[], str]) -> type[RuleBasedStateMachine]:
    class AgainstADictionary(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.place = new_place()
            self.store = ENGINES[engine](self.place)
            self.model: dict[str, dict[bytes, bytes]] = {"member": {}, "title": {}}

        @rule(kind=_kinds, entries=st.lists(_entries, max_size=5))
        def put(self, kind: str, entries: list[StateEntry]) -> None:
            assert self.store.put(kind, entries) == [self._put(kind, *one) for one in entries]

        def _put(self, kind: str, key: bytes, value: bytes) -> bool:
            stored = self.model[kind].get(key, tombstone(NOTHING))
            deletes = len(value) == 8 < len(stored) and value == stored[:8]
            newer = value[:8] > stored[:8] or deletes
            if newer:
                self.model[kind][key] = value
            return newer

        @rule()
        def reopen(self) -> None:
            self.store.close()
            self.store = ENGINES[engine](self.place)

        @rule(kind=_kinds, keys=st.lists(_keys))
        def read(self, kind: str, keys: list[bytes]) -> None:
            stored = [self.model[kind].get(key, tombstone(NOTHING)) for key in keys]
            assert self.store.get(kind, keys) == [value if len(value) > 8 else None for value in stored]
            assert self.store.positions(kind, keys) == [position_of(value) for value in stored]

        @invariant()
        def scans_the_same(self) -> None:
            for kind, states in self.model.items():
                live = sorted((key, value) for key, value in states.items() if len(value) > 8)
                assert sorted(self.store.scan(kind)) == live

        def teardown(self) -> None:
            self.store.close()

    return AgainstADictionary


def _row(position: int, event_time_ms: int = 1_000, member_id: str = "m", item_id: str = "i") -> HistoryRow:
    return HistoryRow(member_id, position, event_time_ms, "play", item_id)


class DurableStoreContract(StateStoreContract):
    """The suite of any DurableStore: histories and profiles."""

    @pytest.fixture
    def durable(self, place: str) -> Iterator[DurableStore]:
        store = DURABLE[self.engine](place)
        yield store
        store.close()

    def test_a_member_without_history_or_profile_has_none(self, durable: DurableStore) -> None:
        assert durable.history("m", 10) == []
        assert durable.profile("m") is None
        assert durable.member_ids(10) == []
        assert durable.forget("m") == 0

    def test_history_is_newest_first_by_event_time_then_position(self, durable: DurableStore) -> None:
        rows = [_row(1, 50), _row(2, 40), _row(3, 50), _row(4, 45)]
        durable.append_history(rows)
        durable.append_history([_row(5, 99, "other")])
        assert [row.position for row in durable.history("m", 10)] == [3, 1, 4, 2]
        assert [row.position for row in durable.history("m", 2)] == [3, 1]
        assert durable.history("m", 0) == durable.history("m", -1) == []

    def test_a_redelivered_row_stays_as_it_was(self, durable: DurableStore) -> None:
        durable.append_history([_row(1, item_id="first")])
        durable.append_history([_row(1, item_id="again"), _row(2)])
        durable.append_history([])
        assert [(row.position, row.item_id) for row in durable.history("m", 10)] == [(2, "i"), (1, "first")]

    def test_rows_come_back_as_they_went_in(self, durable: DurableStore) -> None:
        rows = [
            HistoryRow("é–日本", pack_position(3, 7), 4_102_444_799_999, "rate", "title\U0001f3ac", 4.5, "page"),
            HistoryRow("é–日本", 1, 0, "search", "", None),
        ]
        durable.append_history(rows)
        assert durable.history("é–日本", 10) == rows

    def test_a_row_is_kept_once_however_it_is_delivered(self, durable: DurableStore) -> None:
        @settings(max_examples=20, deadline=None)
        @given(st.lists(st.lists(st.integers(1, 30), max_size=10), max_size=5))
        def check(batches: list[list[int]]) -> None:
            member_id = uuid.uuid4().hex
            for batch in batches:
                durable.append_history([_row(position, position % 7, member_id) for position in batch])
            expected = {position for batch in batches for position in batch}
            kept = [row.position for row in durable.history(member_id, 100)]
            assert kept == sorted(expected, key=lambda position: (position % 7, position), reverse=True)

        check()

    def test_profiles_widen_their_times_and_keep_the_newest_context(self, durable: DurableStore) -> None:
        durable.put_profiles([Profile("m", "de", "tv", 100, 200)])
        durable.put_profiles([Profile("m", "fr", "phone", 50, 150)])
        assert durable.profile("m") == Profile("m", "de", "tv", 50, 200)
        durable.put_profiles([Profile("m", "it", "", 300, 300)])
        assert durable.profile("m") == Profile("m", "it", "tv", 50, 300)

    def test_a_profile_without_context_takes_an_older_one(self, durable: DurableStore) -> None:
        durable.put_profiles([Profile("m", "", "", 100, 200), Profile("m", "de", "tv", 100, 150)])
        assert durable.profile("m") == Profile("m", "de", "tv", 100, 200)

    def test_members_are_listed_by_when_they_were_last_seen(self, durable: DurableStore) -> None:
        durable.put_profiles([Profile(name, "", "", 0, seen) for name, seen in (("a", 1), ("b", 3), ("c", 2))])
        durable.put_profiles([])
        assert durable.member_ids(2) == ["b", "c"]
        assert durable.member_ids(-1) == []

    def test_forgetting_a_member_takes_history_and_profile_of_that_member_only(self, durable: DurableStore) -> None:
        durable.append_history([_row(1), _row(2), _row(3, member_id="other")])
        durable.put_profiles([Profile("m", "de", "tv", 1, 2), Profile("other", "de", "tv", 1, 2)])
        assert durable.forget("m") == 3
        assert durable.history("m", 10) == []
        assert durable.member_ids(10) == ["other"]
        assert len(durable.history("other", 10)) == 1
