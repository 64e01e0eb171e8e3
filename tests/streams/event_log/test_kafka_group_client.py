"""A member of a group that is stopped in the middle of leaving it by itself, as a busy machine makes it do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from aiokafka import ConsumerRebalanceListener

from streams.event_log.kafka.group_client import GroupClient
from tests.streams.event_log.kafka_topics import create_topic, own_prefix


class LeavesSlowly(GroupClient):
    """A client whose word to the group, that it leaves, is on its way for ever."""

    def __init__(self, topic: str, kafka_url: str) -> None:
        super().__init__(
            bootstrap_servers=urlsplit(kafka_url).netloc,
            group_id=topic,
            session_timeout_ms=6_000,
            heartbeat_interval_ms=50,
            max_poll_interval_ms=300,
        )
        self.joined, self.leaves = asyncio.Event(), asyncio.Event()
        joined = self.joined

        class Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
            async def on_partitions_revoked(self, revoked: set[Any]) -> None: ...

            async def on_partitions_assigned(self, assigned: set[Any]) -> None:
                joined.set()

        self.subscribe([topic], listener=Listener())

    async def start(self) -> None:
        await super().start()
        async with asyncio.timeout(60):
            await self.joined.wait()
        leave = self._coordinator._maybe_leave_group

        async def leave_slowly() -> None:
            if not self.leaves.is_set():
                self.leaves.set()
                await asyncio.Event().wait()
            await leave()

        self._coordinator._maybe_leave_group = leave_slowly
        async with asyncio.timeout(60):
            await self.leaves.wait()


@contextmanager
def own_topic(kafka_url: str) -> Iterator[str]:
    with own_prefix(kafka_url) as prefix:
        topic = f"{prefix}events"
        create_topic(kafka_url, topic, 1)
        yield topic


async def others() -> list[str]:
    """Return the tasks left beside the test's own, once the loop has had time to end those that are over."""
    await asyncio.sleep(0.05)
    return [repr(task) for task in asyncio.all_tasks() - {asyncio.current_task()}]


def test_a_stop_in_the_middle_of_leaving_closes_all_of_the_client(kafka_url: str) -> None:
    async def stop(topic: str) -> list[str]:
        client = LeavesSlowly(topic, kafka_url)
        await client.start()
        await client.stop()
        return await others()

    with own_topic(kafka_url) as topic:
        assert asyncio.run(stop(topic)) == []


def test_a_stop_that_is_itself_cancelled_says_so(kafka_url: str) -> None:
    async def stop(topic: str) -> bool:
        client = LeavesSlowly(topic, kafka_url)
        await client.start()
        stopping = asyncio.create_task(client.stop())
        await asyncio.sleep(0)
        stopping.cancel()
        await asyncio.wait({stopping})
        return stopping.cancelled() and not await others()

    with own_topic(kafka_url) as topic:
        assert asyncio.run(stop(topic))
