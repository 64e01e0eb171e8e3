"""Members of consumer groups that are Faust apps, for tests: a log whose consumers they are."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from streams.agents.faust.group import MemberApp
from streams.event_log.kafka.config import KafkaConfig
from streams.event_log.kafka.log import KafkaLog
from streams.event_log.kafka.loop_thread import LoopThread
from streams.event_log.protocol import Batch, Consumer, TopicPartition


class FaustMember:
    """A consumer with a Faust app of its own, which it starts and, closed, stops."""

    def __init__(
        self, thread: LoopThread, config: KafkaConfig, log: KafkaLog, group: str, topics: Sequence[str]
    ) -> None:
        self._thread = thread

        async def start() -> MemberApp:
            app = MemberApp(group, topics, config, log)
            await app.start()
            return app

        self.app = thread.run(start())
        self._reader: Consumer = self.app.join(group, topics)

    def poll(self, max_records: int, timeout_s: float) -> list[Batch]:
        return self._reader.poll(max_records, timeout_s)

    def assignment(self) -> frozenset[TopicPartition]:
        return self._reader.assignment()

    def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._reader.commit(offsets)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._reader.seek(partition, offset)

    def close(self) -> None:
        self._reader.close()
        self._thread.run(self.app.stop())


class FaustLog(KafkaLog):
    """The Kafka log, with Faust's consumers in place of its own."""

    def __init__(self, config: KafkaConfig) -> None:
        super().__init__(config)
        self._faust = LoopThread("faust")
        self._faust_members: list[FaustMember] = []

    def consumer(self, group: str, topics: Sequence[str]) -> Any:
        self._faust_members.append(FaustMember(self._faust, self._config, self, group, topics))
        return self._faust_members[-1]

    def close(self) -> None:
        for member in self._faust_members:
            with contextlib.suppress(asyncio.CancelledError):
                member.close()
        self._faust.stop()
        super().close()
