"""Topics of the tests' own on a Kafka that others use, too."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic


@contextmanager
def own_prefix(kafka_url: str) -> Iterator[str]:
    """Give a prefix that nobody else has; the topics under it are deleted afterwards."""
    prefix = f"t{uuid.uuid4().hex[:10]}."
    yield prefix
    asyncio.run(_delete_topics(kafka_url, prefix))


def create_topic(kafka_url: str, topic: str, partitions: int) -> None:
    """Create a topic as `kafka-topics --create` does: Marquee is not told."""
    asyncio.run(_create_topic(kafka_url, topic, partitions))


def alter_partitions(kafka_url: str, topic: str, partitions: int) -> None:
    """Add partitions as `kafka-topics --alter` does: Marquee is not told."""
    asyncio.run(_alter_partitions(kafka_url, topic, partitions))


async def _delete_topics(kafka_url: str, prefix: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=urlsplit(kafka_url).netloc)
    await admin.start()
    topics = [topic for topic in await admin.list_topics() if topic.startswith(prefix)]
    if topics:
        await admin.delete_topics(topics)
    await admin.close()


async def _alter_partitions(kafka_url: str, topic: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=urlsplit(kafka_url).netloc)
    await admin.start()
    await admin.create_partitions({topic: NewPartitions(total_count=partitions)})
    await admin.close()


async def _create_topic(kafka_url: str, topic: str, partitions: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=urlsplit(kafka_url).netloc)
    await admin.start()
    await admin.create_topics([NewTopic(topic, partitions, 1)])
    await admin.close()
