"""The Redis hot store against bare Redis, side by side: `python -m load_tests.bench.redis_hot redis://host:port/0`.

Each call of the store in turns with the least that could be in its place: a GET, a pipeline of SETs, one round trip of
an asyncio stream. Best of the rounds; the ratio is ours to the bare one's (1.0 would be for nothing).
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any, Final

import redis
import redis.asyncio

from streams.stores.protocol import StateEntry
from streams.stores.redis.address import Address, parse_address
from streams.stores.redis.hot_store import RedisHotStore
from streams.stores.redis.reads import RedisReads

BATCH: Final = 1_000
SIZES: Final = (2_000, 25_000)
"""Bytes of a state after some fifty events, and of a full one."""

READS: Final = 2_000
ROUNDS: Final = 5
AT_ONCE: Final = 50

_positions = count(1)


def entries(size: int) -> list[StateEntry]:
    """Return a batch of states at a position higher than any before."""
    head = next(_positions).to_bytes(8, "big")
    return [StateEntry(b"member-%06d" % number, head + bytes(size)) for number in range(BATCH)]


def best(*works: Callable[[], object]) -> list[float]:
    """Return the seconds that each work takes, at best, in turns."""
    seconds = [float("inf")] * len(works)
    for _ in range(ROUNDS):
        for place, work in enumerate(works):
            begin_s = time.perf_counter()
            work()
            seconds[place] = min(seconds[place], time.perf_counter() - begin_s)
    return seconds


def report(what: str, calls: int, seconds: Sequence[float]) -> None:
    """Print a line: ours, the bare one's and the ratio, of the seconds that `calls` took."""
    ours_s, bare_s = seconds
    print(f"{what:44}{ours_s / calls * 1e6:12,.1f}{bare_s / calls * 1e6:12,.1f}{ours_s / bare_s:8.2f}")


def measure_store(store: RedisHotStore, client: Any, prefix: str) -> None:
    """Compare the synchronous store."""
    for size in SIZES:
        written = iter([entries(size) for _ in range(ROUNDS)])
        plain = iter([entries(size) for _ in range(ROUNDS)])
        keys = [key for key, _ in entries(1)]
        bare_keys = [b"%s:bare:%s" % (prefix.encode(), key) for key in keys]

        def put(batches: Any = written) -> None:
            assert all(store.put("member", next(batches)))

        def set_all(batches: Any = plain, names: list[bytes] = bare_keys) -> None:
            pipeline = client.pipeline(transaction=False)
            for name, (_, value) in zip(names, next(batches), strict=True):
                pipeline.set(name, value)
            pipeline.execute()

        report(f"put 1,000 states of {size:,} bytes, each", BATCH, best(put, set_all))
        report(
            f"get 1,000 states of {size:,} bytes, each",
            BATCH,
            best(lambda: store.get("member", keys), lambda: client.mget(bare_keys)),  # noqa: B023 - run at once
        )

        def get_each() -> None:
            for key in keys:  # noqa: B023 - run at once
                store.get("member", [key])

        def bare_each() -> None:
            for key in bare_keys:  # noqa: B023 - run at once
                client.get(key)

        report(f"get one state of {size:,} bytes", BATCH, best(get_each, bare_each))
    states = [b"%s:bare:member-%06d" % (prefix.encode(), number) for number in range(BATCH)]
    names = [b"member-%06d" % number for number in range(BATCH)]

    def heads() -> None:
        pipeline = client.pipeline(transaction=False)
        for state in states:
            pipeline.getrange(state, 0, 8)
        pipeline.execute()

    report("versions of 1,000 states, each", BATCH, best(lambda: store.versions("member", names), heads))


async def best_of(*works: Callable[[], Awaitable[None]]) -> list[float]:
    """Return the same of works for an event loop."""
    seconds = [float("inf")] * len(works)
    for _ in range(ROUNDS):
        for place, work in enumerate(works):
            begin_s = time.perf_counter()
            await work()
            seconds[place] = min(seconds[place], time.perf_counter() - begin_s)
    return seconds


async def measure_reads(address: Address, store: RedisHotStore) -> None:
    """Compare reads for an event loop, of a state of the first size and a page."""
    store.put("member", entries(SIZES[0]))
    reads = RedisReads(address, ["member"], 5.0)
    await reads.start()
    node = address.nodes[0]
    client = redis.asyncio.Redis(host=node.host, port=node.port, protocol=3)
    reader, writer = await asyncio.open_connection(node.host, node.port)
    name = reads._names["member"].state(b"member-000007")
    raw = b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(name), name)

    async def live() -> None:
        for _ in range(READS):
            await reads.read("member", b"member-000007", b"home")

    async def bare_client() -> None:
        for _ in range(READS):
            await client.get(name)

    async def bare_stream() -> None:
        for _ in range(READS):
            writer.write(raw)
            length = int((await reader.readuntil(b"\r\n"))[1:])
            await reader.readexactly(length + 2)

    live_s, client_s, stream_s = await best_of(live, bare_client, bare_stream)
    report("live read (state and page), to redis.asyncio GET", READS, [live_s, client_s])
    report("live read (state and page), to a bare stream", READS, [live_s, stream_s])

    async def live_at_once() -> None:
        for _ in range(READS // AT_ONCE):
            await asyncio.gather(*(reads.read("member", b"member-000007", b"home") for _ in range(AT_ONCE)))

    async def client_at_once() -> None:
        for _ in range(READS // AT_ONCE):
            await asyncio.gather(*(client.get(name) for _ in range(AT_ONCE)))

    report(f"live reads, {AT_ONCE} at once, to redis.asyncio", READS, await best_of(live_at_once, client_at_once))

    async def known() -> None:
        for _ in range(READS):
            assert reads.known_version("member", b"member-000007")

    report("known version, to a bare stream", READS, await best_of(known, bare_stream))
    writer.close()
    await writer.wait_closed()
    await client.aclose()
    await reads.close()


def main(url: str) -> None:
    """Measure and print a table."""
    prefix = f"bench-{uuid.uuid4().hex}"
    address = parse_address(f"{url}?prefix={prefix}")
    store = RedisHotStore(address, 10.0, 4)
    node = address.nodes[0]
    client = redis.Redis(host=node.host, port=node.port, db=address.database, protocol=3)
    print(f"{'microseconds':44}{'ours':>12}{'bare':>12}{'ratio':>8}")
    try:
        measure_store(store, client, prefix)
        asyncio.run(measure_reads(address, store))
    finally:
        for key in client.scan_iter(match=f"{prefix}:*", count=10_000):
            client.unlink(key)
        client.close()
        store.close()


if __name__ == "__main__":
    main(sys.argv[1])
