"""Forgetting a member."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from streams.errors import TryAgain
from streams.forget import Forgotten, forget_member
from streams.stores.embedded_hot import EmbeddedHotStore
from streams.stores.protocol import HistoryRow, Profile, StateEntry
from streams.stores.refill import refill
from streams.stores.sqlite_durable import SqliteDurableStore
from streams.topics import MEMBER_EVENTS
from streams.warehouse import read_topic, write_range
from tests.streams.stores.engines import embedded_hot, entry, sqlite_durable
from tests.streams.warehouse_records import record


class Stores(NamedTuple):
    hot: EmbeddedHotStore
    durable: SqliteDurableStore


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    stores = Stores(embedded_hot(tmp_path), sqlite_durable(tmp_path))
    for store in stores:
        store.put("member", [entry(b"m", 5), entry(b"other", 5)])
        store.put("title", [entry(b"i\x00\x00\x00", 5)])
        store.put("precomputed", [entry(b"m", 1_700_000_000_000)])
    stores.durable.append_history([HistoryRow("m", 5, 1, "play", "i"), HistoryRow("other", 4, 1, "play", "i")])
    stores.durable.put_profiles([Profile("m"), Profile("other")])
    yield stores
    for store in stores:
        store.close()


def test_a_forgotten_member_is_gone_from_every_store_and_the_others_stay(stores: Stores, tmp_path: Path) -> None:
    warehouse = tmp_path / "warehouse"
    write_range(warehouse, MEMBER_EVENTS, 0, 1, [record(0), record(1, member_id="other")])
    assert forget_member("m", *stores, warehouse) == Forgotten(states=4, rows=2, warehouse_rows=1)
    for store in stores:
        assert store.get("member", [b"m", b"other"]) == [None, entry(b"other", 5).value]
        assert store.get("precomputed", [b"m"]) == [None]
        assert [key for key, _ in store.scan("title")] == [b"i\x00\x00\x00"]
    assert stores.durable.history("m", 10) == []
    assert stores.durable.member_ids(10) == ["other"]
    assert read_topic(warehouse, MEMBER_EVENTS).column("member_id").to_pylist() == ["other"]


def test_forgetting_again_or_somebody_unknown_removes_nothing(stores: Stores) -> None:
    forget_member("m", *stores)
    assert forget_member("m", *stores) == Forgotten(0, 0, 0)
    assert forget_member("nobody", *stores) == Forgotten(0, 0, 0)
    assert stores.hot.positions("member", [b"nobody"]) == [0]


def test_a_forgotten_state_does_not_return_by_redelivery_or_refill_and_later_events_count(stores: Stores) -> None:
    stores.hot.put("member", [entry(b"m", 7)])
    forget_member("m", *stores)
    for store in stores:
        assert store.put("member", [entry(b"m", 6), entry(b"m", 7)]) == [False, False]
    assert refill(stores.durable, stores.hot, ["member"]) == 0
    for store in stores:
        assert store.put("member", [entry(b"m", 8)]) == [True]


def test_messages_up_to_the_floor_no_longer_count_though_no_state_includes_them(stores: Stores) -> None:
    forget_member("m", *stores, floor=20)
    forget_member("new", *stores, floor=20)
    for store in stores:
        assert store.put("member", [entry(b"m", 20), entry(b"new", 20)]) == [False, False]
        assert store.put("member", [entry(b"m", 21), entry(b"new", 21)]) == [True, True]


def test_a_state_that_an_agent_writes_in_the_middle_goes_too(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    put = stores.hot.put

    def put_after_an_agent(kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        monkeypatch.setattr(stores.hot, "put", put)
        for store in stores:
            store.put("member", [entry(b"m", 9)])
        return put(kind, entries)

    monkeypatch.setattr(stores.hot, "put", put_after_an_agent)
    forget_member("m", *stores, floor=8)
    for store in stores:
        assert store.get("member", [b"m"]) == [None]


def test_a_state_that_is_written_again_and_again_is_not_taken_for_forgotten(
    stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = stores.hot.put
    positions = iter(range(10, 100))

    def put_after_an_agent(kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        put("member", [entry(b"m", next(positions))])
        return put(kind, entries)

    monkeypatch.setattr(stores.hot, "put", put_after_an_agent)
    with pytest.raises(TryAgain, match="written anew"):
        forget_member("m", *stores)


def test_with_a_store_away_it_says_so_and_the_next_call_finishes(stores: Stores, tmp_path: Path) -> None:
    path = tmp_path / "durable.db"
    path.rename(tmp_path / "aside")
    with pytest.raises(TryAgain):
        forget_member("m", *stores)
    (tmp_path / "aside").rename(path)
    assert forget_member("m", *stores).rows == 2
    assert stores.durable.get("member", [b"m"]) == [None]


def test_a_hot_store_put_back_from_an_older_copy_forgets_again(stores: Stores, tmp_path: Path) -> None:
    forget_member("m", *stores)
    older = EmbeddedHotStore(tmp_path / "older", 64 << 20)
    older.put("member", [entry(b"m", 4), entry(b"other", 4)])
    older.put("precomputed", [entry(b"m", 1_600_000_000_000)])
    refill(stores.durable, older, ["member", "precomputed"])
    assert older.get("member", [b"m", b"other"]) == [None, entry(b"other", 5).value]
    assert older.get("precomputed", [b"m"]) == [None]
    older.close()
