"""The two programs that the Faust worker is measured beside, each as a process of its own.

    python -m load_tests.bench.faust_agent bare <host:port> <topic> <group> <count>
    python -m load_tests.bench.faust_agent plain <host:port> <topic> <group> <count>

`bare` is an aiokafka loop that fetches and decodes; nothing that reads Kafka from Python can do with less. `plain` is
a Faust agent as Faust's documentation has it. Each says "ready" when it has its partitions, and "done" after `count`.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from typing import Any

import faust
from aiokafka import AIOKafkaConsumer

from streams.events import decode_event


async def bare(servers: str, topic: str, group: str, count: int) -> None:
    """Fetch and decode, in batches."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=servers,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=60_000,
    )
    await consumer.start()
    while not consumer.assignment():
        await consumer.getmany(timeout_ms=100)
    print("ready", flush=True)
    taken = 0
    while taken < count:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            for record in records:
                decode_event(record.value)
            taken += len(records)
    print("done", flush=True)
    await consumer.stop()


async def plain(servers: str, topic: str, group: str, count: int) -> None:
    """Decode in an agent, one event at a time."""
    with tempfile.TemporaryDirectory(prefix="marquee-bench-faust-") as folder:
        app = faust.App(
            group,
            broker=f"kafka://{servers}",
            datadir=folder,
            web_enabled=False,
            topic_disable_leader=True,
            value_serializer="raw",
            broker_session_timeout=60.0,
        )
        done = asyncio.Event()

        @app.agent(app.topic(topic, value_serializer="raw"))
        async def decode(stream: faust.StreamT[bytes]) -> None:
            taken = 0
            async for value in stream:
                decode_event(value)
                taken += 1
                if taken == count:
                    done.set()

        @app.on_rebalance_complete.connect
        async def ready(*_: Any, **__: Any) -> None:
            print("ready", flush=True)

        await app.start()
        await done.wait()
        print("done", flush=True)
        await app.stop()


PROGRAMS = {"bare": bare, "plain": plain}

if __name__ == "__main__":
    _, program, servers, topic, group, count = sys.argv
    asyncio.run(PROGRAMS[program](servers, topic, group, int(count)))
