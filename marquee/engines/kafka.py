"""Kafka: one broker that is its own controller (KRaft)."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar, Final

from marquee.engines.engine import HOST, Engine, is_open
from marquee.engines.jars import jars, java, missing_jars, missing_java
from marquee.engines.process import Command
from streams.errors import TryAgain

HEAP_MB: Final = 512
REQUEST_MS: Final = 5_000

SETTINGS: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={data}
# a topic is created with its partitions and retention, or not at all
auto.create.topics.enable=false
delete.topic.enable=true
# one broker has one copy of everything
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# what is acknowledged is in the page cache, which outlives kill -9; only a power cut could lose it (no flush settings)
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
# a broker that was killed registers again once its old session is over
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
log.segment.bytes=134217728
num.network.threads=2
num.io.threads=4
background.threads=4
"""

LOGGING: Final = """\
status=warn
appender.file.type=RollingFile
appender.file.name=FILE
appender.file.fileName={logs}/kafka.log
appender.file.filePattern={logs}/kafka.log.%i
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %m (%c)%n
appender.file.policies.type=Policies
appender.file.policies.size.type=SizeBasedTriggeringPolicy
appender.file.policies.size.size=4MB
appender.file.strategy.type=DefaultRolloverStrategy
appender.file.strategy.max=2
rootLogger.level=WARN
rootLogger.appenderRefs=file
rootLogger.appenderRef.file.ref=FILE
logger.started.name=kafka.server.KafkaRaftServer
logger.started.level=INFO
"""


class Kafka(Engine):
    """One broker on loopback."""

    name: ClassVar[str] = "kafka"

    @property
    def ports(self) -> tuple[int, ...]:
        """Clients', controller's."""
        return (self.place.base_port + 92, self.place.base_port + 93)

    @property
    def url(self) -> str:
        """The broker."""
        return f"kafka://{HOST}:{self.ports[0]}"

    @property
    def settings(self) -> Mapping[str, str]:
        """The event log."""
        return {"MARQUEE_LOG_URL": self.url}

    def missing(self) -> str | None:
        """Java and the jars."""
        return missing_java() or missing_jars(self.name, self.place.jars)

    def prepare(self) -> None:
        """Write the settings; format the folder of a new broker."""
        place = self.place
        place.conf.mkdir(parents=True, exist_ok=True)
        values = {"host": HOST, "port": self.ports[0], "controller": self.ports[1], "data": place.data}
        self._settings.write_text(SETTINGS.format(**values))
        (place.conf / "log4j2.properties").write_text(LOGGING.format(logs=place.logs))
        if not (place.data / "meta.properties").exists():
            place.data.mkdir(parents=True, exist_ok=True)
            self._format()

    def processes(self) -> dict[str, Command]:
        """Return the broker."""
        heap = (f"-Xms{HEAP_MB // 2}m", f"-Xmx{HEAP_MB}m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20")
        argv = self._java(*heap, "-XX:+ExitOnOutOfMemoryError", *_quick(self.place.quick))
        return {self.name: Command((*argv, "kafka.Kafka", str(self._settings)), self.place.data)}

    def check(self) -> None:
        """Ask for the brokers."""
        if not is_open(self.ports[0]):
            raise TryAgain("it does not listen yet")
        with ThreadPoolExecutor(1) as own:  # the caller may have a loop that runs
            own.submit(lambda: asyncio.run(self._ask_for_brokers())).result()

    def own_logs(self) -> list[Path]:
        """Return what Kafka logs."""
        return [self.place.logs / "kafka.log"]

    async def _ask_for_brokers(self) -> None:
        from aiokafka.client import AIOKafkaClient

        client = AIOKafkaClient(bootstrap_servers=f"{HOST}:{self.ports[0]}", request_timeout_ms=REQUEST_MS)
        try:
            await client.bootstrap()
            if not client.cluster.brokers():
                raise TryAgain("it has not registered itself yet")
        finally:
            await client.close()

    def _format(self) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        cluster = f"m{cluster[1:]}"  # a leading dash would be taken for an option
        tool = ("kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", str(self._settings))
        done = subprocess.run(  # noqa: S603
            [*self._java("-Xmx128m", *_quick(True)), *tool], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise TryAgain(f"its folder could not be formatted: {(done.stdout + done.stderr).strip()[-500:]}")

    def _java(self, *options: str) -> tuple[str, ...]:
        classes = jars(self.name, self.place.jars)
        logging = f"-Dlog4j2.configurationFile={self.place.conf / 'log4j2.properties'}"
        return (java() or "java", *options, logging, "-cp", f"{classes}/*")

    @property
    def _settings(self) -> Path:
        return self.place.conf / "server.properties"


def _quick(quick: bool) -> tuple[str, ...]:
    """Return options to spend little time on compiling what runs for a short time only."""
    return ("-XX:TieredStopAtLevel=1", "-Xshare:auto") if quick else ()
