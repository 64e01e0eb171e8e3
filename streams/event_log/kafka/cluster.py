"""What is asked of a Kafka cluster: topics and their ids, offsets, records, commits. Everything here runs in one loop.

It has a connection of its own to each broker, so that no answer waits behind a consumer's long fetch.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from aiokafka import errors as kafka
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.protocol.admin import (
    CreatePartitionsRequest,
    CreateTopicsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
    DescribeConfigsRequest,
)
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition as KafkaPartition

from streams.event_log.kafka.batches import record_of
from streams.event_log.kafka.config import KafkaConfig
from streams.event_log.kafka.wire import MetadataRequest
from streams.event_log.protocol import Record

LATEST: Final = -1
EARLIEST: Final = -2
TOPIC_RESOURCE: Final = 2
BROKER_RESOURCE: Final = 4
RETRY_S: Final = 0.05


Result = TypeVar("Result")


class TopicMetadata(NamedTuple):
    """A topic as a broker knows it. leaders: the broker of each partition, -1 where there is none now."""

    topic_id: str
    leaders: tuple[int, ...]


class Cluster:
    """A connected client; topic and group names are Kafka's, prefix included. Raises aiokafka's errors."""

    def __init__(self, config: KafkaConfig) -> None:
        self._config = config
        self._client: Any = None
        self._connecting = asyncio.Lock()
        self._coordinators: dict[str, int] = {}
        self._leaders: dict[str, tuple[int, ...]] = {}
        self._shortest_session_ms: int | None = None

    async def metadata(self, topics: Sequence[str], node: int | None = None) -> dict[str, TopicMetadata]:
        """Return what a broker (any, or a given one) knows of topics; those that do not exist are left out."""
        response = await self._send(node, MetadataRequest(list(topics)))
        found = {}
        for error_code, topic, topic_id, _, partitions, *_ in response.topics:
            error = kafka.for_code(error_code)
            if error is kafka.UnknownTopicOrPartitionError or error is kafka.InvalidTopicError:
                self._leaders.pop(topic, None)
                continue
            if error is not kafka.NoError and error is not kafka.LeaderNotAvailableError:
                raise error(topic)
            leaders = tuple(leader for _, leader in sorted((one[1], one[2]) for one in partitions))
            found[topic] = TopicMetadata(_short(topic_id), leaders)
            self._leaders[topic] = leaders
        return found

    def nodes_of(self, topics: Sequence[str]) -> Sequence[int | None]:
        """Return the brokers that lead partitions of topics, as last known."""
        return sorted({node for topic in topics for node in self._leaders.get(topic, ()) if node >= 0})

    async def create_topic(self, topic: str, partitions: int, configs: Mapping[str, str]) -> bool:
        """Create a topic; return False if it exists."""
        wanted: list[Any] = [(topic, partitions, self._config.replication, [], list(configs.items()))]
        response = await self._on_controller(CreateTopicsRequest(wanted, self._config.request_timeout_ms, False))
        error = kafka.for_code(response.topic_errors[0][1])
        if error is kafka.TopicAlreadyExistsError:
            return False
        if error is not kafka.NoError:
            raise error(response.topic_errors[0][2])
        return True

    async def delete_topic(self, topic: str) -> None:
        """Delete a topic, unless it is gone already."""
        response = await self._on_controller(DeleteTopicsRequest([topic], self._config.request_timeout_ms))
        error = kafka.for_code(response.topic_error_codes[0][1])
        if error is not kafka.NoError and error is not kafka.UnknownTopicOrPartitionError:
            raise error(topic)

    async def create_partitions(self, topic: str, partitions: int, *, validate_only: bool = False) -> None:
        """Raise the number of partitions, unless it is that already; or only ask whether that can be."""
        request = CreatePartitionsRequest([(topic, (partitions, None))], self._config.request_timeout_ms, validate_only)
        response = await self._on_controller(request)
        _, error_code, message = response.topic_errors[0]
        error = kafka.for_code(error_code)
        if error is kafka.InvalidPartitionsError:
            found = await self.metadata([topic])
            if topic in found and len(found[topic].leaders) >= partitions:
                return
        if error is not kafka.NoError:
            raise error(message)

    async def configs(self, topic: str) -> dict[str, str]:
        """Return a topic's configuration."""
        return await self._configs(None, TOPIC_RESOURCE, topic)

    async def shortest_session_ms(self) -> int:
        """Return the shortest session that the brokers allow a group's members; 0 if this user may not know."""
        if self._shortest_session_ms is None:
            client = await self._connected()
            node = client.get_random_node()
            try:
                configs = await self._configs(node, BROKER_RESOURCE, str(node))
            except kafka.ClusterAuthorizationFailedError:
                configs = {}
            self._shortest_session_ms = int(configs.get("group.min.session.timeout.ms", 0))
        return self._shortest_session_ms

    async def offset(self, topic: str, partition: int, which: int) -> int:
        """Return the offset of the oldest record (EARLIEST) or past the newest (LATEST) that readers may see."""
        return (await self.offsets(topic, [partition], which))[partition]

    async def offsets(self, topic: str, partitions: Sequence[int], which: int) -> dict[int, int]:
        """Return the same of several partitions."""
        by_leader: dict[int, list[int]] = {}
        for partition in partitions:
            by_leader.setdefault(await self._leader(topic, partition), []).append(partition)
        found = {}
        for node, led in by_leader.items():
            request = OffsetRequest(-1, READ_COMMITTED, [(topic, [(partition, which) for partition in led])])
            response = await self._send(node, request)
            for partition, error_code, _, offset in response.topics[0][1]:
                self._check(topic, error_code)
                found[partition] = offset
        return found

    async def fetch(self, topic: str, partition: int, offset: int, max_bytes: int) -> tuple[list[Record], int]:
        """Return records from `offset` on, and the offset to read on from; nothing past the end. Only what was
        committed is seen of a producer with transactions. Raises OffsetOutOfRangeError."""
        request = FetchRequest(0, 1, max_bytes, READ_COMMITTED, [(topic, [(partition, offset, max_bytes)])])
        response = await self._send(await self._leader(topic, partition), request)
        [(_, [(_, error_code, _, *parts)])] = response.topics
        self._check(topic, error_code)
        aborted = parts[2] if response.API_VERSION >= 11 else parts[-2]
        unpacked = PartitionRecords(
            KafkaPartition(topic, partition),
            MemoryRecords(parts[-1]),
            aborted,
            offset,
            None,
            None,
            True,
            READ_COMMITTED,
        )
        unpacked._consumer_record = record_of
        return list(unpacked), unpacked.next_fetch_offset

    async def delete_records(self, topic: str, partition: int, before_offset: int) -> None:
        """Delete a partition's records below an offset that is not past its end."""
        request = DeleteRecordsRequest([(topic, [(partition, before_offset)])], self._config.request_timeout_ms)
        response = await self._send(await self._leader(topic, partition), request)
        self._check(topic, response.topics[0][1][0][2])

    async def committed(self, group: str, topic: str, partitions: Sequence[int]) -> dict[int, tuple[int, str]]:
        """Return the group's commits: the next offset to read, and what was noted with it."""
        if group not in self._coordinators:
            client = await self._connected()
            self._coordinators[group] = await client.coordinator_lookup(CoordinationType.GROUP, group)
        request = OffsetFetchRequest(group, [(topic, list(partitions))])
        try:
            response = await self._send(self._coordinators[group], request)
            if response.error_code:  # of the coordinator, as while it loads the group: there are no topics then
                raise kafka.for_code(response.error_code)(group)
            found = {}
            for partition, offset, note, error_code in response.topics[0][1]:
                if error_code:
                    raise kafka.for_code(error_code)(group)
                if offset >= 0:
                    found[partition] = (offset, note)
        except kafka.KafkaError:
            self._coordinators.pop(group, None)
            raise
        return found

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._client is None:
                client = AIOKafkaClient(**self._config.client_arguments())
                try:
                    await client.bootstrap()
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            return self._client

    async def _send(self, node: int | None, request: Any) -> Any:
        client = await self._connected()
        try:
            return await client.send(client.get_random_node() if node is None else node, request)
        except (kafka.KafkaConnectionError, kafka.NodeNotReadyError, kafka.StaleMetadata):
            self._leaders.clear()
            raise

    async def _configs(self, node: int | None, kind: int, name: str) -> dict[str, str]:
        response = await self._send(node, DescribeConfigsRequest([(kind, name, None)]))
        [(error_code, message, _, _, entries)] = response.resources
        if error_code:
            raise kafka.for_code(error_code)(message)
        return {entry[0]: entry[1] for entry in entries}

    async def _on_controller(self, request: Any) -> Any:
        client = await self._connected()
        if client.cluster.controller is None:
            await client.force_metadata_update()
        controller = client.cluster.controller
        if controller is None:
            raise kafka.NodeNotReadyError("no controller is known")
        return await self._send(controller.nodeId, request)

    async def _leader(self, topic: str, partition: int) -> int:
        leaders = self._leaders.get(topic)
        if leaders is None or partition >= len(leaders) or leaders[partition] < 0:
            found = await self.metadata([topic])
            if topic not in found or partition >= len(found[topic].leaders):
                raise kafka.UnknownTopicOrPartitionError(topic)
            leaders = found[topic].leaders
        if leaders[partition] < 0:
            raise kafka.LeaderNotAvailableError(topic)
        return leaders[partition]

    def _check(self, topic: str, error_code: int) -> None:
        error = kafka.for_code(error_code)
        if error is kafka.NoError:
            return
        if error is not kafka.OffsetOutOfRangeError:
            self._leaders.pop(topic, None)
        raise error(topic)


MOVING: Final = (
    kafka.LeaderNotAvailableError,
    kafka.NotLeaderForPartitionError,
    kafka.CoordinatorNotAvailableError,
    kafka.CoordinatorLoadInProgressError,
    kafka.NotCoordinatorError,
    kafka.NotControllerError,
)
"""Said while leaders change."""

APPEARING: Final = (*MOVING, kafka.UnknownTopicOrPartitionError)
"""Said while a topic that was made becomes known."""


async def until_settled(
    attempt: Callable[[], Awaitable[Result]], timeout_s: float, passing: tuple[type[Exception], ...] = MOVING
) -> Result:
    """Repeat `attempt` while Kafka says that it will soon be able to."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + timeout_s
    while True:
        try:
            return await attempt()
        except passing:
            if loop.time() > ends:
                raise
        await asyncio.sleep(RETRY_S)


def _short(topic_id: uuid.UUID) -> str:
    return topic_id.hex
