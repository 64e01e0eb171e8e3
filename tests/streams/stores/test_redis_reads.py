"""Live reads on Redis: nothing is believed that may have changed."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
import redis

from streams.errors import TryAgain
from streams.settings import Settings
from streams.stores.live_reads import LiveState
from streams.stores.open import open_live_reads
from streams.stores.protocol import StateEntry, tombstone
from streams.stores.redis.address import Address, parse_address
from streams.stores.redis.hot_store import RedisHotStore
from streams.stores.redis.keys import Keys
from streams.stores.redis.link import STALE_S
from streams.stores.redis.reads import MAX_PAGES, RedisReads
from tests.engines import RedisServer
from tests.streams.stores.engines import entry
from tests.streams.stores.redis_places import delete_all
from tests.tcp_proxy import TcpProxy

TIMEOUT_S = 2.0
BUSY = """
local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end
local begin = now()
while now() < begin + 300 do end
"""
"""Keeps a server from answering for 0.3 s."""

NOTHING_READ = LiveState(None, 0, None)


@pytest.fixture(params=["redis_url", "redis_cluster_url"])
def address(request: pytest.FixtureRequest) -> Iterator[Address]:
    address = parse_address(f"{request.getfixturevalue(request.param)}?prefix=test-{uuid.uuid4().hex}")
    yield address
    delete_all(address)


@pytest.fixture
def server(redis_server: Callable[[], RedisServer]) -> RedisServer:
    return redis_server()


@pytest.fixture
def hot(address: Address) -> Iterator[RedisHotStore]:
    store = RedisHotStore(address, 5.0, 4)
    yield store
    store.close()


@asynccontextmanager
async def reading(address: Address, timeout_s: float = TIMEOUT_S) -> AsyncIterator[RedisReads]:
    reads = RedisReads(address, ["member", "title"], timeout_s)
    await reads.start()
    try:
        yield reads
    finally:
        await reads.close()


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> float:
    """Wait for a condition; return how long it took."""
    begin_s = time.monotonic()
    while not condition():
        assert time.monotonic() - begin_s < within_s
        await asyncio.sleep(0.005)
    return time.monotonic() - begin_s


def test_a_version_is_known_once_read_and_until_it_changes(address: Address, hot: RedisHotStore) -> None:
    async def run() -> None:
        async with reading(address) as reads:
            assert reads.known_version("member", b"a") is None
            assert await reads.read("member", b"a") == NOTHING_READ
            assert (reads.known_version("member", b"a"), reads.problem) == (0, None)
            for write, state in (
                (entry(b"a", 5), LiveState(entry(b"a", 5).value, 10, None)),
                (StateEntry(b"a", tombstone(5)), LiveState(None, 11, None)),
                (entry(b"a", 6), LiveState(entry(b"a", 6).value, 12, None)),
            ):
                await asyncio.to_thread(hot.put, "member", [write])
                await until(lambda: reads.known_version("member", b"a") is None)
                assert await reads.read("member", b"a") == state
                assert reads.known_version("member", b"a") == state.version
            await asyncio.to_thread(hot.put, "member", [entry(b"other", 6)])
            await asyncio.to_thread(hot.put, "title", [entry(b"a", 6)])
            assert reads.known_version("member", b"a") == 12
            assert (await reads.read("unfollowed", b"a")) == NOTHING_READ
            assert reads.known_version("unfollowed", b"a") is None

    asyncio.run(run())


def test_changed_keys_are_told_once(address: Address, hot: RedisHotStore) -> None:
    keys = [b"%d" % number for number in range(50)]

    async def run() -> None:
        async with reading(address) as reads:
            assert reads.changed("member") is None
            await until(lambda: reads.problem is None)
            assert (reads.changed("member"), reads.changed("member")) == (None, set())
            reads.changed("title")
            await asyncio.to_thread(hot.put, "member", [entry(key, 5) for key in keys])
            await asyncio.to_thread(hot.put, "member", [entry(keys[0], 4)])  # refused: it changes nothing
            told: set[bytes] = set()
            while len(told) < 50:
                new = reads.changed("member")
                assert new is not None
                assert not told & new
                told |= new
                await asyncio.sleep(0.005)
            assert reads.changed("title") == set()
            assert reads.changed("unfollowed") is None

    asyncio.run(run())


def test_a_page_is_kept_with_the_version_that_it_was_made_from(address: Address, hot: RedisHotStore) -> None:
    async def run() -> None:
        async with reading(address) as reads:

            async def page(name: bytes = b"home") -> bytes | None:
                return (await reads.read("member", b"a", name)).page

            assert await page() is None
            reads.put_page("member", b"a", 0, b"home", b"of nobody", 60)
            assert await page() == b"of nobody"
            await asyncio.to_thread(hot.put, "member", [entry(b"a", 5)])
            assert await page() is None
            reads.put_page("member", b"a", 0, b"home", b"of nobody", 60)
            reads.put_page("member", b"a", 8, b"home", b"old", 60)
            reads.put_page("member", b"a", 11, b"home", b"of a deleted state", 60)
            assert await page() is None
            reads.put_page("member", b"a", 10, b"home", b"right", 60)
            reads.put_page("member", b"a", 10, b"\x00", b"another", 60)
            assert (await page(), await page(b"\x00")) == (b"right", b"another")
            for number in range(MAX_PAGES):
                reads.put_page("member", b"a", 10, b"%d" % number, b"one of many", 60)
            assert (await page(), await page(b"%d" % (MAX_PAGES - 1))) == (None, b"one of many")
            await asyncio.to_thread(hot.put, "member", [StateEntry(b"a", tombstone(5))])
            assert await reads.read("member", b"a", b"0") == LiveState(None, 11, None)
            reads.put_page("member", b"a", 10, b"home", b"too late: it is forgotten", 60)
            reads.put_page("member", b"a", 11, b"short", b"kept for a moment", 0.05)
            assert (await page(), await page(b"short")) == (None, b"kept for a moment")
            reads.put_page("member", b"a", 11, b"long", b"goes with the first", 60)
            await asyncio.sleep(0.1)
            assert (await page(b"short"), await page(b"long")) == (None, None)
            assert reads.pages_dropped == 0

    asyncio.run(run())


def test_while_states_change_under_many_readers_no_stale_version_is_kept(address: Address, hot: RedisHotStore) -> None:
    """Reads and writes race; whatever is known when the writes have settled must be what is stored."""
    keys = [b"%d" % number for number in range(8)]
    bursts = 12
    position = 1

    def write(until_s: float) -> None:
        nonlocal position
        while time.monotonic() < until_s:
            position += 1
            hot.put("member", [entry(random.choice(keys), position)])

    async def read(reads: RedisReads, until_s: float) -> None:
        while time.monotonic() < until_s:
            await reads.read("member", random.choice(keys))

    async def run() -> int:
        checked = 0
        async with reading(address) as reads:
            for _ in range(bursts):
                until_s = time.monotonic() + 0.05
                writer = threading.Thread(target=write, args=(until_s,))
                writer.start()
                await asyncio.gather(*(read(reads, until_s + 0.002) for _ in range(20)))
                await asyncio.to_thread(writer.join)
                await reads.read("barrier", b"a")  # what was pushed before its answer has been received
                await asyncio.gather(*(reads.read("barrier", b"%d" % number) for number in range(50)))
                stored = await asyncio.to_thread(hot.versions, "member", keys)
                known = [reads.known_version("member", key) for key in keys]
                checked += sum(one is not None for one in known)
                assert all(one in (None, version) for one, version in zip(known, stored, strict=True))
        return checked

    assert asyncio.run(run()) > bursts
    assert position > 100


def test_what_is_believed_is_never_older_than_the_bound(address: Address, hot: RedisHotStore) -> None:
    acknowledged: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def write() -> None:
        for position in range(1, 400):
            hot.put("member", [entry(b"a", position)])
            acknowledged.append((time.monotonic(), 2 * position))

    async def run() -> None:
        async with reading(address) as reads:
            writer = threading.Thread(target=write)
            writer.start()
            believed = 0
            while writer.is_alive():
                bound_s = time.monotonic() - STALE_S
                floor = max((version for at_s, version in list(acknowledged) if at_s <= bound_s), default=0)
                version = reads.known_version("member", b"a")
                if version is None:
                    version = (await reads.read("member", b"a")).version
                    assert version >= floor
                else:
                    believed += 1
                    assert version >= floor
                await asyncio.sleep(0)
            assert believed > 10

    asyncio.run(run())


def _own(server: RedisServer) -> Address:
    return parse_address(server.url + "?prefix=own")


def test_after_flushall_nothing_is_known(server: RedisServer) -> None:
    async def run() -> None:
        async with reading(_own(server)) as reads:
            await reads.read("member", b"a")
            reads.changed("member")
            assert reads.changed("member") == set()
            with redis.Redis(port=server.port) as client:
                client.flushall()
            await until(lambda: reads.known_version("member", b"a") is None)
            assert (reads.changed("member"), reads.changed("member")) == (None, set())

    asyncio.run(run())


def test_a_lost_connection_is_made_anew_and_nothing_is_known_before(server: RedisServer) -> None:
    address = _own(server)
    store = RedisHotStore(address, 5.0, 2)

    async def run() -> None:
        async with reading(address) as reads:
            await reads.read("member", b"a")
            reads.changed("member")
            with redis.Redis(port=server.port) as client:
                client.client_kill_filter(_type="normal", skipme=True)
                await asyncio.sleep(0.02)
                assert reads.known_version("member", b"a") is None
                assert reads.changed("member") is None
                await asyncio.to_thread(store.put, "member", [entry(b"a", 5)])
            await until(lambda: reads.problem is None)
            assert reads.known_version("member", b"a") is None
            assert (reads.changed("member"), reads.changed("member")) == (None, set())
            assert (await reads.read("member", b"a")).version == reads.known_version("member", b"a") == 10

    asyncio.run(run())
    store.close()


def test_a_dead_server_is_an_answer_at_once_and_one_that_is_back_is_read(server: RedisServer) -> None:
    async def run() -> None:
        async with reading(_own(server)) as reads:
            await reads.read("member", b"a")
            server.kill()
            await until(lambda: reads.problem is not None)
            begin_s = time.monotonic()
            for _ in range(100):
                with pytest.raises(TryAgain, match="away"):
                    await reads.read("member", b"a")
            assert time.monotonic() - begin_s < 0.5
            reads.put_page("member", b"a", 0, b"home", b"page", 60)
            assert reads.pages_dropped == 1
            assert reads.known_version("member", b"a") is None
            server.start()
            await until(lambda: reads.problem is None)
            assert await reads.read("member", b"a", b"home") == NOTHING_READ

    asyncio.run(run())


def test_a_server_that_was_never_there_is_waited_for_once_at_most(server: RedisServer) -> None:
    server.kill()

    async def run() -> None:
        async with reading(_own(server), timeout_s=0.2) as reads:
            for _ in range(2):
                with pytest.raises(TryAgain):
                    await reads.read("member", b"a")
            assert reads.problem is not None
            assert reads.changed("member") is None

    asyncio.run(run())


def test_a_frozen_server_is_noticed_and_what_was_known_is_not_believed_for_longer(server: RedisServer) -> None:
    async def run() -> None:
        async with reading(_own(server), timeout_s=0.1) as reads:
            await reads.read("member", b"a")
            server.freeze()
            begin_s = time.monotonic()
            with pytest.raises(TryAgain, match="100 ms"):
                await reads.read("member", b"a")
            assert time.monotonic() - begin_s < 0.1 + 0.3
            await until(lambda: reads.known_version("member", b"a") is None)
            assert time.monotonic() - begin_s < STALE_S + 0.3
            await until(lambda: reads.problem is not None)
            server.thaw()
            await until(lambda: reads.problem is None)
            assert await reads.read("member", b"a") == NOTHING_READ
            assert reads.known_version("member", b"a") == 0

    asyncio.run(run())


def test_a_read_that_is_late_is_given_up_and_the_connection_kept(server: RedisServer) -> None:
    async def run() -> None:
        async with reading(_own(server), timeout_s=0.1) as reads:
            await reads.read("member", b"a")
            with redis.Redis(port=server.port) as client:
                sleeping = asyncio.create_task(asyncio.to_thread(client.eval, BUSY, 0))
                await asyncio.sleep(0.05)
                results = await asyncio.gather(
                    *(reads.read("member", b"%d" % number) for number in range(20)), return_exceptions=True
                )
                assert all(isinstance(result, TryAgain) for result in results)
                assert reads.problem is None
                await sleeping
            assert await reads.read("member", b"a") == NOTHING_READ
            # the late answers came to nobody, but they told the versions
            assert [reads.known_version("member", b"%d" % number) for number in range(20)] == [0] * 20

    asyncio.run(run())


def test_reads_go_through_a_cut_and_a_mended_network(server: RedisServer) -> None:
    async def run(proxy: TcpProxy) -> None:
        address = parse_address(f"redis://127.0.0.1:{proxy.port}/0?prefix=own")
        async with reading(address, timeout_s=0.2) as reads:
            await reads.read("member", b"a")
            proxy.cut()
            await until(lambda: reads.known_version("member", b"a") is None, STALE_S)
            with pytest.raises(TryAgain):
                await reads.read("member", b"a")
            proxy.mend()
            await until(lambda: reads.problem is None)
            assert await reads.read("member", b"a") == NOTHING_READ

    with TcpProxy("127.0.0.1", server.port) as proxy:
        asyncio.run(run(proxy))


def test_what_does_not_speak_redis_is_an_answer() -> None:
    async def run() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            async with reading(parse_address(f"redis://127.0.0.1:{port}"), timeout_s=0.5) as reads:
                with pytest.raises(TryAgain, match="RESP3"):
                    await reads.read("member", b"a")

    asyncio.run(run())


def test_the_url_opens_them_and_they_follow_changes_over_resp3(server: RedisServer) -> None:
    settings = Settings.model_validate({"hot_url": server.url + "?prefix=p"})
    store = RedisHotStore(parse_address(settings.hot_url), 1.0, 2)

    async def run() -> None:
        reads = open_live_reads(settings, store, ["member"])
        await reads.start()
        assert await reads.read("member", b"a") == NOTHING_READ
        with redis.Redis(port=server.port) as client:
            ours = [one for one in client.client_list() if "B" in one["flags"]]  # client-side caching by broadcast
            assert [one["resp"] for one in ours] == ["3"]
            assert client.info("stats")["tracking_total_prefixes"] == 1
            names = Keys("p", "member")
            client.set(names.state(b"a"), tombstone(9))
        await until(lambda: reads.known_version("member", b"a") is None)
        assert (await reads.read("member", b"a")).version == 19
        await reads.close()
        with pytest.raises(TryAgain):
            await reads.read("member", b"a")

    asyncio.run(run())
    store.close()
