"""A Cassandra that is away, frozen, dropped, or not the one that the settings speak of."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest
from cassandra import AuthenticationFailed, InvalidRequest, OperationTimedOut, Unavailable
from cassandra.cluster import NoHostAvailable
from cassandra.protocol import OverloadedErrorMessage

from streams.errors import FixRequest, MarqueeError, SlowDown, TryAgain
from streams.settings import Settings
from streams.stores.cassandra.address import parse_address
from streams.stores.cassandra.errors import SchemaGone, meaning
from streams.stores.cassandra.store import CassandraDurableStore
from streams.stores.protocol import HistoryRow, Profile
from tests.streams.stores.cassandra_places import driver_session, own_keyspace, patient
from tests.streams.stores.engines import entry
from tests.tcp_proxy import TcpProxy

T = TypeVar("T")
TIMEOUT_S = 1.0
SLACK_S = 2.0
"""What a busy machine may take beside."""

CALLS: list[Callable[[CassandraDurableStore], object]] = [
    lambda store: store.positions("member", [b"a"]),
    lambda store: store.write("member", [entry(b"%d" % number, 1) for number in range(1_000)]),
    lambda store: list(store.scan("title")),
    lambda store: store.append_history([HistoryRow("m", 1, 1, "play", "i")]),
    lambda store: store.put_profiles([Profile("m")]),
    lambda store: store.member_ids(10),
]


@pytest.fixture(scope="module")
def keyspace_url(cassandra_url: str) -> Iterator[str]:
    with own_keyspace(cassandra_url) as url:
        store = patient(url)
        store.put("member", [entry(b"a", 5)])
        store.close()
        yield url


@pytest.fixture
def proxy(keyspace_url: str) -> Iterator[TcpProxy]:
    with TcpProxy(*parse_address(keyspace_url).nodes[0]) as proxy:
        yield proxy


@pytest.fixture
def store(keyspace_url: str, proxy: TcpProxy) -> Iterator[CassandraDurableStore]:
    url = f"cassandra://127.0.0.1:{proxy.port}/{parse_address(keyspace_url).keyspace}"
    store = CassandraDurableStore(Settings(durable_url=url, cassandra_timeout_s=TIMEOUT_S))
    yield store
    proxy.thaw()
    store.close()


def _eventually(call: Callable[[], T]) -> T:
    until_s = time.monotonic() + 30
    while True:
        try:
            return call()
        except TryAgain:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.05)


def _is_refused_in_time(store: CassandraDurableStore) -> None:
    for call in CALLS:
        begun_s = time.monotonic()
        with pytest.raises(TryAgain):
            call(store)
        assert time.monotonic() - begun_s < TIMEOUT_S + SLACK_S


def _positions(store: CassandraDurableStore) -> list[int]:
    return _eventually(lambda: store.positions("member", [b"a"]))


def test_a_store_that_was_away_from_the_start_is_used_once_it_is_there(
    store: CassandraDurableStore, proxy: TcpProxy
) -> None:
    proxy.cut()
    _is_refused_in_time(store)
    proxy.mend()
    assert _positions(store) == [5]


def test_a_node_that_goes_away_in_use_says_so_and_is_used_again_afterwards(
    store: CassandraDurableStore, proxy: TcpProxy
) -> None:
    assert _positions(store) == [5]
    proxy.cut()
    _is_refused_in_time(store)
    proxy.mend()
    assert _positions(store) == [5]
    _eventually(lambda: store.append_history([HistoryRow("back", 1, 1, "play", "i")]))
    assert len(store.history("back", 10)) == 1


def test_a_frozen_node_is_not_waited_for_longer_than_the_settings_say(
    store: CassandraDurableStore, proxy: TcpProxy
) -> None:
    assert _positions(store) == [5]
    proxy.freeze()
    _is_refused_in_time(store)
    proxy.thaw()
    assert _positions(store) == [5]


def test_a_node_that_is_frozen_while_it_is_connected_to_is_not_waited_for_either(
    store: CassandraDurableStore, proxy: TcpProxy
) -> None:
    proxy.freeze()
    _is_refused_in_time(store)
    proxy.thaw()
    assert _positions(store) == [5]


def test_a_closed_store_connects_to_nothing(store: CassandraDurableStore) -> None:
    _positions(store)
    store.close()
    with pytest.raises(TryAgain, match="closed"):
        store.positions("member", [b"a"])
    store.close()


def test_a_keyspace_that_was_dropped_is_said_to_be_gone_and_made_anew(cassandra_url: str) -> None:
    with own_keyspace(cassandra_url) as url, driver_session(url) as session:
        store = patient(url)
        store.put("member", [entry(b"a", 5)])
        session.execute(f"DROP KEYSPACE {parse_address(url).keyspace}")
        with pytest.raises(SchemaGone):
            store.positions("member", [b"a"])
        assert store.positions("member", [b"a"]) == [0]
        assert store.put("member", [entry(b"a", 5)]) == [True]
        store.close()


def test_a_datacenter_that_the_cluster_does_not_have_is_named_with_those_it_has(keyspace_url: str) -> None:
    settings = Settings(durable_url=keyspace_url, cassandra_timeout_s=20, cassandra_datacenter="mars")
    store = CassandraDurableStore(settings)
    with pytest.raises(FixRequest, match="MARQUEE_CASSANDRA_DATACENTER: the cluster has only datacenter1"):
        store.positions("member", [b"a"])
    store.close()


def test_a_host_without_address_is_tried_again() -> None:
    store = CassandraDurableStore(Settings(durable_url="cassandra://nowhere.invalid/films", cassandra_timeout_s=20))
    with pytest.raises(TryAgain):
        store.positions("member", [b"a"])
    store.close()


@pytest.mark.parametrize(
    "url", ["cassandra://", "cassandra://h/Films", "cassandra://h:x/films", "cassandra://u@h/films", "cassandra://h,/f"]
)
def test_a_url_that_cannot_be_is_refused_before_anything_is_asked(url: str) -> None:
    with pytest.raises(FixRequest, match="MARQUEE_DURABLE_URL"):
        CassandraDurableStore(Settings(durable_url=url))


def test_a_forked_child_connects_for_itself(keyspace_url: str) -> None:
    store = patient(keyspace_url)
    store.positions("member", [b"a"])
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        os._exit(0 if store.positions("member", [b"a"]) == [5] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.positions("member", [b"a"]) == [5]
    store.close()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationTimedOut(), TryAgain),
        (Unavailable("too few"), TryAgain),
        (ConnectionRefusedError(), TryAgain),
        (NoHostAvailable("all down", {}), TryAgain),
        (NoHostAvailable("all full", {"node": OverloadedErrorMessage(0x1001, "full", None)}), SlowDown),
        (NoHostAvailable("no entry", {"node": AuthenticationFailed("who are you")}), FixRequest),
        (InvalidRequest("unconfigured table history"), SchemaGone),
        (InvalidRequest("Key may not be empty"), FixRequest),
    ],
)
def test_the_drivers_errors_become_what_the_caller_should_do(error: Exception, expected: type[MarqueeError]) -> None:
    assert type(meaning(error)) is expected
