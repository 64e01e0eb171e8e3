"""A Redis Cluster whose slots move and whose nodes are killed; these tests have one of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from marquee.engines.local import Engines
from streams.errors import TryAgain
from streams.stores.protocol import StateStore
from streams.stores.redis.address import Address, parse_address
from streams.stores.redis.hot_store import RedisHotStore
from streams.stores.redis.keys import BUCKETS, TAGS, bucket_of, slot_of
from streams.stores.redis.reads import RedisReads
from tests.engines import private_engines, require_engines
from tests.streams.stores.engines import entry

TIMEOUT_S = 0.5
KEYS = [b"%d" % number for number in range(100)]
MOVING = KEYS[0]


@pytest.fixture(scope="module")
def engines() -> Iterator[Engines]:
    require_engines("redis-cluster")
    engines = private_engines()
    engines.start("redis-cluster")
    yield engines
    engines.kill("redis-cluster")
    engines.wipe()


@pytest.fixture
def address(engines: Engines) -> Address:
    return parse_address(engines.url("redis-cluster"))


@pytest.fixture
def store(address: Address) -> Iterator[RedisHotStore]:
    store = RedisHotStore(address, TIMEOUT_S, 4)
    yield store
    store.close()


async def until_read(reads: RedisReads, key: bytes, within_s: float = 10.0) -> int:
    """Return the version that is read as soon as one can be."""
    begin_s = time.monotonic()
    while True:
        try:
            return (await reads.read("member", key)).version
        except TryAgain:
            assert time.monotonic() - begin_s < within_s
            await asyncio.sleep(0.01)


def _nodes(address: Address) -> list[redis.Redis]:
    return [redis.Redis(port=node.port, protocol=3) for node in address.nodes]


def _move(slot: int, address: Address, between: Callable[[], None]) -> None:
    """Move a slot as redis-cli does; `between` runs when half of it is done."""
    nodes = _nodes(address)
    ids = [node.execute_command("CLUSTER", "MYID") for node in nodes]
    owner = next(place for place, node in enumerate(nodes) if _owns(node))
    target = (owner + 1) % len(nodes)
    nodes[target].execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[owner])
    nodes[owner].execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
    port = address.nodes[target].port
    for number, name in enumerate(nodes[owner].execute_command("CLUSTER", "GETKEYSINSLOT", slot, 1_000)):
        nodes[owner].execute_command("MIGRATE", "127.0.0.1", port, name, 0, 1_000)
        if number == 0:
            between()
    for node in (nodes[target], nodes[owner], *nodes):
        node.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])
    for node in nodes:
        node.close()


def _owns(node: redis.Redis) -> bool:
    try:
        node.execute_command("GET", b"{%s}" % TAGS[bucket_of(MOVING)])
    except redis.ResponseError:
        return False
    return True


def test_a_url_of_one_server_does_not_do_for_a_cluster(address: Address) -> None:
    store = RedisHotStore(parse_address(f"redis://{address.nodes[0]}"), TIMEOUT_S, 4)
    with pytest.raises(TryAgain, match=r"redis\+cluster|CROSSSLOT|same slot"):
        store.get("member", KEYS)
    elsewhere = [key for key in KEYS if bucket_of(key) >= BUCKETS // 2]
    with pytest.raises(TryAgain, match=r"redis\+cluster"):
        store.get("member", elsewhere[:1])
    store.close()


def test_a_slot_that_moves_takes_its_states_along(address: Address, store: RedisHotStore) -> None:
    slot = slot_of(TAGS[bucket_of(MOVING)])
    assert store.put("member", [entry(key, 5) for key in KEYS]) == [True] * len(KEYS)

    def between() -> None:
        with pytest.raises(TryAgain):
            store.put("member", [entry(MOVING, 6)])  # its keys are here and there

    async def run() -> None:
        reads = RedisReads(address, ["member"], TIMEOUT_S)
        await reads.start()
        assert await until_read(reads, MOVING) == 10
        assert reads.known_version("member", MOVING) == 10
        await asyncio.to_thread(_move, slot, address, between)
        await reads.read("member", KEYS[1])
        assert reads.known_version("member", MOVING) is None
        assert await until_read(reads, MOVING) == 10
        assert await asyncio.to_thread(store.put, "member", [entry(MOVING, 7)]) == [True]
        assert await until_read(reads, MOVING) == reads.known_version("member", MOVING) == 14
        await asyncio.to_thread(store.put, "member", [entry(MOVING, 8)])
        await asyncio.sleep(0.05)
        assert reads.known_version("member", MOVING) is None
        await reads.close()

    asyncio.run(run())
    assert store.positions("member", KEYS) == [8, *[5] * 99]
    assert sorted(key for key, _ in store.scan("member")) == sorted(KEYS)
    assert store.drop("member", 1_000) == 100


def test_a_cluster_goes_on_without_a_killed_node_and_is_whole_again_when_all_are_back(
    engines: Engines, address: Address, store: RedisHotStore
) -> None:
    assert store.put("member", [entry(key, 5) for key in KEYS]) == [True] * len(KEYS)

    async def run() -> None:
        reads = RedisReads(address, ["member"], TIMEOUT_S)
        await reads.start()
        for key in KEYS:
            assert await until_read(reads, key) == 10
        with redis.Redis(port=address.nodes[1].port) as client:
            os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
        begin_s = time.monotonic()
        with pytest.raises(TryAgain, match="is away"):
            await asyncio.to_thread(store.positions, "member", KEYS)
        assert time.monotonic() - begin_s < 2 * TIMEOUT_S + 0.5
        alone = [key for key in KEYS if await asyncio.to_thread(_answers, store, key)]
        assert 20 < len(alone) < 80  # the other two nodes' states
        for key in alone:
            assert (await reads.read("member", key)).version == reads.known_version("member", key) == 10
        with pytest.raises(TryAgain, match="is away"):
            await reads.read("member", next(key for key in KEYS if key not in alone))
        assert reads.changed("member") is None
        engines.kill("redis-cluster")
        await asyncio.to_thread(engines.start, "redis-cluster")
        for key in KEYS:
            assert await until_read(reads, key) == 10
        assert reads.problem is None
        await reads.close()

    asyncio.run(run())
    assert store.positions("member", KEYS) == [5] * 100
    assert store.put("member", [entry(key, 6) for key in KEYS]) == [True] * 100


def _answers(store: StateStore, key: bytes) -> bool:
    try:
        return store.positions("member", [key]) == [5]
    except TryAgain:
        return False
