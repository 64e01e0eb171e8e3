"""One agent as a Faust app: a consumer group, and the loop that drives the agent with what the group gives it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import faust
from aiokafka import AIOKafkaConsumer
from faust.app.base import BootStrategy
from faust.tables.manager import TableManager
from faust.types import TransportT
from mode import Service

from streams.agents.faust.client import HEARTBEATS, faust_urls, new_client
from streams.agents.faust.reader import CommittingLog, FaustReader
from streams.agents.faust.transport import BatchConsumer, BatchThread, Transport
from streams.agents.protocol import Agent
from streams.agents.runner import AgentLoop, Join
from streams.event_log.kafka.config import KafkaConfig
from streams.event_log.protocol import Consumer, TopicPartition

NewLoop = Callable[[Agent, threading.Event, Join], AgentLoop]
"""Makes the loop of an agent, which ends once the event is set, and which joins its group with the third."""


class NoTables(TableManager):
    """Faust's table manager where there are no tables: the subscription waits for none."""

    async def on_start(self) -> None:
        """Go on at once."""
        await self._update_channels()
        await self.recovery.start()


class ConsumerOnly(BootStrategy):
    """What a group's app starts: no producer, since agents write through the event log, and no web server, since there
    is one for all groups of a worker."""

    enable_kafka_producer = False
    enable_web = False


class BatchApp(faust.App):
    """A Faust app on this package's transport, with nothing to keep on disk."""

    def _new_transport(self) -> TransportT:
        """Name the transport, which so is found also where its entry point is not installed."""
        return Transport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Create none: there are no tables."""


class MemberApp(BatchApp):
    """The Faust app of one member of a consumer group: Faust's membership, rebalancing and sensors. `join` gives the
    consumer that reads what the group gives to it."""

    BootStrategy = ConsumerOnly

    def __init__(self, group: str, topics: Sequence[str], config: KafkaConfig, log: CommittingLog) -> None:
        super().__init__(
            config.prefix + group,
            broker=faust_urls(config),
            broker_session_timeout=config.session_timeout_ms / 1000,
            broker_heartbeat_interval=config.session_timeout_ms / 1000 / HEARTBEATS,
            stream_wait_empty=False,
            table_standby_replicas=0,
            topic_allow_declare=False,
            topic_disable_leader=True,
            TableManager=NoTables,
        )
        self.group = group
        self._reads = topics
        self._config = config
        self._log = log

    @property
    def batches(self) -> BatchThread:
        """The consumer thread, which knows what the group has given."""
        return cast("BatchConsumer", self.consumer).batches

    @property
    def session_timeout_ms(self) -> int:
        """How long a member may be silent before the group goes on without it."""
        return self._config.session_timeout_ms

    def new_client(self, session_ms: int) -> AIOKafkaConsumer:
        """Return a client that will be a member of the group."""
        return new_client(self._config, self.conf.id, session_ms)

    def join(self, group: str, topics: Sequence[str]) -> Consumer:
        """Return a consumer of this member's group and topics, who begins with nothing. Once the app has started."""
        return FaustReader(self.batches, self._log, group, topics)

    def progress(self) -> list[tuple[TopicPartition, int, int]]:
        """Return each partition held, with the next offset to read and the end as of the last fetch."""
        ends = self.monitor.tp_end_offsets
        return [
            (
                TopicPartition(at.topic[len(self._config.prefix) :], at.partition),
                position,
                max(ends.get(at, 0), position),
            )
            for at, position in sorted(self.batches.positions.items())
        ]

    async def _wait_for_table_recovery_completed(self) -> bool:
        """Do not wait for the first assignment: there are no tables, and the reader has to poll to get one."""
        return False

    async def on_start(self) -> None:
        """Say what the group reads."""
        await super().on_start()
        for topic in self._reads:
            self.topics.add(self.topic(self._config.prefix + topic))


class GroupApp(MemberApp):
    """The Faust app of an agent: a member of the agent's group, and the loop that drives the agent."""

    def __init__(self, driven: Agent, config: KafkaConfig, log: CommittingLog, new_loop: NewLoop) -> None:
        super().__init__(driven.name, driven.topics, config, log)
        self._driven = driven
        self._new_loop = new_loop
        self._driver: AgentDriver | None = None

    async def on_started(self) -> None:
        """Drive the agent, now that there is a consumer."""
        await super().on_started()
        if not self.should_stop:
            self._driver = AgentDriver(lambda stop: self._new_loop(self._driven, stop, self.join), beacon=self.beacon)
            await self.add_runtime_dependency(self._driver)

    async def on_stop(self) -> None:
        """Have the agent flush and commit while the group is still joined; then leave it."""
        if self._driver is not None:
            await self._driver.stop()
        await super().on_stop()


class AgentDriver(Service):
    """Runs an agent's loop in a thread; its failure is the app's."""

    def __init__(self, new_loop: Callable[[threading.Event], AgentLoop], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._stop_loop = threading.Event()
        self._agent_loop = new_loop(self._stop_loop)
        self._ended = asyncio.Event()

    async def on_start(self) -> None:
        """Start the thread."""
        running = asyncio.get_running_loop()

        def run() -> None:
            self._agent_loop.run()
            running.call_soon_threadsafe(self._ended.set)

        threading.Thread(target=run, name=self._agent_loop.name, daemon=True).start()

    @Service.task
    async def _watch(self) -> None:
        await self._ended.wait()
        if self._agent_loop.failure is not None:
            await self.crash(self._agent_loop.failure)

    async def on_stop(self) -> None:
        """Let the loop flush, commit and end."""
        self._stop_loop.set()
        await self._ended.wait()
