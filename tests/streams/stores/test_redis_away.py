"""The hot store on Redis while that is dead, frozen, full or emptied; each test has a server of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from streams.errors import SlowDown, TryAgain
from streams.settings import Settings
from streams.stores.open import open_hot
from streams.stores.protocol import StateStore, position_of
from streams.stores.redis.address import parse_address
from streams.stores.redis.hot_store import RedisHotStore
from streams.stores.redis.keys import Keys
from tests.engines import RedisServer
from tests.streams.stores.contract import _child, _pipe
from tests.streams.stores.engines import entry
from tests.streams.stores.writer import KEYS, payload

TIMEOUT_S = 0.3


@pytest.fixture
def server(redis_server: Callable[[], RedisServer]) -> RedisServer:
    return redis_server()


@pytest.fixture
def store(server: RedisServer) -> Iterator[RedisHotStore]:
    store = RedisHotStore(parse_address(server.url), TIMEOUT_S, 4)
    yield store
    store.close()


def _takes_at_most(seconds: float, calls: Callable[[], object], match: str) -> None:
    begin_s = time.monotonic()
    with pytest.raises(TryAgain, match=match):
        calls()
    assert time.monotonic() - begin_s < seconds


def _every_call(store: StateStore) -> list[Callable[[], object]]:
    return [
        lambda: store.get("member", [b"a"]),
        lambda: store.versions("member", [b"a"]),
        lambda: store.put("member", [entry(b"a", 6)]),
        lambda: list(store.scan("member")),
    ]


def test_a_dead_server_is_an_answer_at_once_and_one_that_is_back_is_used(
    server: RedisServer, store: RedisHotStore
) -> None:
    store.put("member", [entry(b"a", 5)])
    server.kill()
    for call in _every_call(store):
        for _ in range(5):  # more often than there are connections
            _takes_at_most(1.0, call, "is away")
    server.start()
    assert store.positions("member", [b"a"]) == [5]
    assert store.put("member", [entry(b"a", 6)]) == [True]


def test_a_frozen_server_is_an_answer_within_the_timeout(server: RedisServer, store: RedisHotStore) -> None:
    store.put("member", [entry(b"a", 5)])
    server.freeze()
    for call in _every_call(store):
        _takes_at_most(TIMEOUT_S + 1.0, call, "is away")
    server.thaw()
    time.sleep(TIMEOUT_S)
    written = store.put("member", [entry(b"a", 6)])
    assert store.positions("member", [b"a"]) == [6]  # the write that nobody waited for may have been made: no harm
    assert written in ([True], [False])


def test_what_was_acknowledged_before_a_kill_is_there_after_it(server: RedisServer, store: RedisHotStore) -> None:
    with redis.Redis(port=server.port) as client:
        client.config_set("appendfsync", "always")
    with _child("redis", server.url, "until-killed", "1") as child:
        said = [int(_pipe(child.stdout).readline()) for _ in range(10)]
        server.kill()
        said += [int(line) for line in _pipe(child.stdout) if line.endswith("\n")]
        assert child.wait() != 0  # it was told to try again
    server.start()
    values = store.get("member", KEYS)
    for value in values:
        assert value is not None
        assert value[8:] == payload(position_of(value))
        assert position_of(value) >= said[-1]
    assert sorted(key for key, _ in store.scan("member")) == KEYS


def test_an_emptied_server_is_written_anew(server: RedisServer, store: RedisHotStore) -> None:
    store.put("member", [entry(b"a", 5)])
    with redis.Redis(port=server.port) as client:
        client.flushall()
        client.script_flush()
    assert store.get("member", [b"a"]) == [None]
    assert list(store.scan("member")) == []
    assert store.put("member", [entry(b"a", 4)]) == [True]
    assert [key for key, _ in store.scan("member")] == [b"a"]


def test_a_full_server_says_to_slow_down_and_is_still_read(server: RedisServer, store: RedisHotStore) -> None:
    store.put("member", [entry(b"a", 5)])
    with redis.Redis(port=server.port) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(SlowDown, match="full"):
            store.put("member", [entry(b"a", 6), entry(b"b", 6)])
        assert store.positions("member", [b"a", b"b"]) == [5, 0]
        client.config_set("maxmemory", 0)
    assert store.put("member", [entry(b"a", 6)]) == [True]


def test_a_server_that_may_evict_states_is_warned_of(
    server: RedisServer, store: RedisHotStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "streams.stores.redis")
    assert store.positions("member", [b"a"]) == [0]
    assert caplog.records == []
    with redis.Redis(port=server.port) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
    other = RedisHotStore(parse_address(server.url), TIMEOUT_S, 4)
    assert other.positions("member", [b"a"]) == [0]
    other.close()
    assert "may evict states" in caplog.text


def test_connections_speak_resp3_with_the_password_of_the_settings_and_are_few(server: RedisServer) -> None:
    with redis.Redis(port=server.port) as client:
        client.config_set("requirepass", "secret")
        refused = RedisHotStore(parse_address(server.url), TIMEOUT_S, 4)
        with pytest.raises(TryAgain, match="authenticated"):
            refused.get("member", [b"a"])
        refused.close()
        settings = Settings.model_validate({"hot_url": server.url + "?prefix=p", "redis_password": "secret"})
        store = open_hot(settings)
        for position in range(1, 20):
            store.put("member", [entry(b"a", position)])
        client.execute_command("AUTH", "secret")
        ours = [one for one in client.client_list() if one["cmd"] == "eval"]
        assert [one["resp"] for one in ours] == ["3"]
        assert client.exists(Keys("p", "member").state(b"a"))
        store.close()
    with pytest.raises(TryAgain, match="closed"):
        store.get("member", [b"a"])


def test_many_threads_wait_for_few_connections(server: RedisServer) -> None:
    store = RedisHotStore(parse_address(server.url), 5.0, 2)
    threads = [threading.Thread(target=store.put, args=("member", [entry(b"%d" % number, 1)])) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(1 for _ in store.scan("member")) == 20
    with redis.Redis(port=server.port) as client:
        assert sum(one["resp"] == "3" and one["cmd"] != "client|list" for one in client.client_list()) <= 2
    store.close()
