"""Stores by URL."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import FixRequest, TryAgain
from streams.settings import Settings
from streams.stores.open import open_durable, open_hot
from tests.streams.stores.engines import entry


def test_the_default_stores_live_below_the_state_folder(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path)
    hot, durable = open_hot(settings), open_durable(settings)
    hot.put("member", [entry(b"a", 1)])
    durable.put("member", [entry(b"a", 1)])
    assert {path.name for path in tmp_path.iterdir()} >= {"hot", "durable.db"}
    hot.close()
    durable.close()


def test_opening_touches_no_file_so_that_a_dead_store_stops_nothing_from_starting(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path / "missing")
    open_hot(settings).close()
    open_durable(settings).close()
    assert not (tmp_path / "missing").exists()


def test_a_redis_that_is_not_there_stops_nothing_from_starting() -> None:
    for url in ("redis://127.0.0.1:1", "redis+cluster://127.0.0.1:1,127.0.0.1:2"):
        store = open_hot(Settings(hot_url=url))
        with pytest.raises(TryAgain, match="away"):
            store.get("member", [b"a"])
        store.close()
    with pytest.raises(FixRequest, match="MARQUEE_HOT_URL"):
        open_hot(Settings(hot_url="redis://127.0.0.1:port"))


def test_an_unknown_engine_is_named_with_its_variable_and_the_known_ones() -> None:
    with pytest.raises(FixRequest, match=r"MARQUEE_HOT_URL.*memcached.*embedded:"):
        open_hot(Settings(hot_url="memcached://localhost"))
    with pytest.raises(FixRequest, match=r"MARQUEE_DURABLE_URL.*sqlite:.*cassandra:"):
        open_durable(Settings(durable_url="mongodb://localhost"))
