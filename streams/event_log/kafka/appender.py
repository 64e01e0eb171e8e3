"""Appends to Kafka: an idempotent producer fed with whole batches, bounded in memory and in time.

The batches are built in the caller's thread, a loop without a task or a future per message. What cannot be written in
time is given up for good: the producer that had it is replaced, so that nothing of it arrives after the caller was told
to try again (what was already at the broker may have).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from streams.errors import FixRequest, SlowDown
from streams.event_log.kafka.config import MAX_MESSAGE_BYTES, KafkaConfig
from streams.event_log.protocol import Appended, Message
from streams.partitioner import partition_for

BATCH_BYTES: Final = 512 << 10
"""Of one record batch: large enough for one request per partition in most appends. A longer message has one alone."""

SLOW_DOWN_S: Final = 0.2

Parts = dict[int, list[Any]]
"""Batch builders by partition, in the order of their messages."""


class Appender:
    """Appends batches. `packed` and `reserved` belong to the callers' threads, the rest to the loop."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._producer: Any = None
        self._starting = asyncio.Lock()
        self._held_bytes = 0
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def reserved(self, size: int) -> Iterator[None]:
        """Hold room for an append of `size` bytes. Raises SlowDown if others hold it; one alone may be larger."""
        with self._lock:
            if self._held_bytes and self._held_bytes + size > self._config.buffer_bytes:
                raise SlowDown(f"{self._held_bytes} bytes wait to be appended to Kafka", SLOW_DOWN_S)
            self._held_bytes += size
        try:
            yield
        finally:
            with self._lock:
                self._held_bytes -= size

    async def append(self, topic: str, parts: Mapping[int, Sequence[Any]]) -> dict[int, list[int]]:
        """Write the batches of each partition in order; return the offset of each one's first record.

        Raises aiokafka's errors, and asyncio.TimeoutError after the request timeout."""
        producer = None
        try:
            async with asyncio.timeout(self._config.request_timeout_ms / 1000):
                producer = await self._started()
                await _knows(producer, topic, max(parts))
                written = await asyncio.gather(
                    *(self._write(producer, topic, partition, batches) for partition, batches in parts.items())
                )
        except (TimeoutError, KafkaError, asyncio.CancelledError):
            if producer is not None and self._producer is producer:
                self._producer = None
                await abandon(producer)
            raise
        return dict(zip(parts, written, strict=True))

    async def append_one(self, topic: str, value: bytes) -> None:
        """Append a value to partition 0."""
        builder = _builder()
        builder.append(timestamp=_now_ms(), key=None, value=value)
        await self.append(topic, {0: [builder]})

    async def close(self) -> None:
        """Write out what is under way, and disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                await asyncio.wait_for(producer.stop(), self._config.request_timeout_ms / 1000)
            except (TimeoutError, KafkaError):
                await abandon(producer)

    async def _write(self, producer: Any, topic: str, partition: int, batches: Sequence[Any]) -> list[int]:
        """Hand over a partition's batches one after the other, so that their order stays; then wait for all."""
        under_way = []
        try:
            for batch in batches:
                future = await producer.send_batch(batch, topic, partition=partition)
                future.add_done_callback(_seen)
                under_way.append(future)
            return [(await future).offset for future in under_way]
        except asyncio.CancelledError:
            for future in under_way:
                future.cancel()
            raise

    async def _started(self) -> Any:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._config.client_arguments(),
                    enable_idempotence=True,
                    acks="all",
                    max_batch_size=BATCH_BYTES,
                    metadata_max_age_ms=30_000,
                    retry_backoff_ms=50,
                )
                try:
                    await producer.start()
                except BaseException:
                    await abandon(producer)
                    raise
                self._producer = producer
            return self._producer


def packed(messages: Sequence[Message], partitions: int) -> tuple[Parts, list[int], int]:
    """Return batches by partition, the partition of each message, and the bytes in all.

    Raises FixRequest, before anything is written, for a message that is too large."""
    parts: Parts = {}
    places = []
    now_ms = _now_ms()
    appends: dict[int, Any] = {}
    for message in messages:
        key, value = message
        if len(key) + len(value) > MAX_MESSAGE_BYTES:
            raise FixRequest("message", f"key and value may have {MAX_MESSAGE_BYTES} bytes together")
        partition = partition_for(key, partitions)
        places.append(partition)
        append = appends.get(partition)
        if append is None or append(timestamp=now_ms, key=key, value=value) is None:
            builder = _builder()
            parts.setdefault(partition, []).append(builder)
            append = appends[partition] = builder.append
            append(timestamp=now_ms, key=key, value=value)
    return parts, places, sum(builder.size() for builders in parts.values() for builder in builders)


def placed(places: Sequence[int], parts: Parts, firsts: Mapping[int, Sequence[int]]) -> list[Appended]:
    """Return where each message was put. places: of each its partition; firsts: each batch's first offset."""
    offsets = {
        partition: chain.from_iterable(
            range(first, first + builder.record_count())
            for first, builder in zip(firsts[partition], builders, strict=True)
        )
        for partition, builders in parts.items()
    }
    return [Appended(partition, next(offsets[partition])) for partition in places]


async def abandon(producer: Any) -> None:
    """Stop a producer without writing out what it holds."""
    given_up = KafkaConnectionError("given up")
    producer._message_accumulator.fail_all(given_up)
    await producer.client.close()
    sender = producer._sender.sender_task
    if sender is not None:
        sender.cancel()
    with contextlib.suppress(KafkaError, asyncio.TimeoutError, asyncio.CancelledError):
        await asyncio.wait_for(producer.stop(), 1.0)


async def _knows(producer: Any, topic: str, partition: int) -> None:
    """Wait until the producer's metadata has a partition, which may have been added just now."""
    known = producer.client.cluster.partitions_for_topic(topic)
    while known is None or partition not in known:
        await producer.client.add_topic(topic)
        await producer.client.force_metadata_update()
        known = producer.client.cluster.partitions_for_topic(topic)
        if known is None or partition not in known:
            await asyncio.sleep(0.02)


def _builder() -> Any:
    return BatchBuilder(BATCH_BYTES, 0)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _seen(future: asyncio.Future[Any]) -> None:
    """Take note of an error that nobody waits for any more."""
    if not future.cancelled():
        future.exception()
