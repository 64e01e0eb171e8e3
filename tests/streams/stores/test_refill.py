"""Filling a hot store from the durable one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.stores.protocol import DurableStore, StateEntry, StateStore, tombstone
from streams.stores.refill import BATCH, refill
from tests.streams.stores.engines import embedded_hot, entry, sqlite_durable


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[DurableStore, StateStore]]:
    durable, hot = sqlite_durable(tmp_path), embedded_hot(tmp_path)
    yield durable, hot
    durable.close()
    hot.close()


def test_an_empty_hot_store_holds_every_state_again(stores: tuple[DurableStore, StateStore]) -> None:
    durable, hot = stores
    count = 2 * BATCH + 7
    durable.put("member", [entry(b"%d" % number, number + 1) for number in range(count)])
    durable.put("title", [entry(b"t", 3)])
    durable.put("other", [entry(b"o", 3)])
    assert refill(durable, hot, ["member", "title"]) == count + 1
    assert sorted(hot.scan("member")) == sorted(durable.scan("member"))
    assert list(hot.scan("other")) == []
    assert refill(durable, hot, ["member", "title"]) == 0


def test_newer_states_and_deletions_in_the_hot_store_stay(stores: tuple[DurableStore, StateStore]) -> None:
    durable, hot = stores
    durable.put("member", [entry(b"a", 5, b"durable"), entry(b"b", 5), entry(b"c", 5)])
    hot.put("member", [entry(b"a", 6, b"hot"), StateEntry(b"b", tombstone(5)), entry(b"c", 4)])
    assert refill(durable, hot, ["member"]) == 1
    assert hot.get("member", [b"a", b"b", b"c"]) == [entry(b"a", 6, b"hot").value, None, entry(b"c", 5).value]
