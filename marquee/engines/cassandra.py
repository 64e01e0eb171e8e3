"""Cassandra: one node that owns the whole ring."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from marquee.engines.engine import HOST, Engine, is_open
from marquee.engines.jars import jars, java, missing_jars, missing_java
from marquee.engines.process import Command
from streams.errors import TryAgain

HEAP_MB: Final = 1024
CONNECT_S: Final = 10.0
PROTOCOL: Final = 5

SETTINGS: Final = """\
cluster_name: marquee
num_tokens: 1
initial_token: 0
partitioner: org.apache.cassandra.dht.Murmur3Partitioner
seed_provider:
  - class_name: org.apache.cassandra.locator.SimpleSeedProvider
    parameters:
      - seeds: "{host}:{storage}"
listen_address: {host}
rpc_address: {host}
storage_port: {storage}
ssl_storage_port: {ssl}
native_transport_port: {port}
endpoint_snitch: SimpleSnitch
data_file_directories: ["{data}/tables"]
commitlog_directory: "{data}/commitlog"
saved_caches_directory: "{data}/saved_caches"
hints_directory: "{data}/hints"
cdc_raw_directory: "{data}/cdc_raw"
# An acknowledged write is on the disk. `periodic`, the default, loses about the last 0.1 s at a kill -9, which a ring
# makes up for from other nodes; here there are none, and an agent that lives on would not write those states again.
{sync}
commitlog_segment_size: 16MiB
commitlog_total_space: 256MiB
memtable_heap_space: 128MiB
memtable_offheap_space: 128MiB
key_cache_size: 16MiB
counter_cache_size: 0MiB
auto_snapshot: false
hinted_handoff_enabled: false
concurrent_reads: 16
concurrent_writes: 16
concurrent_compactors: 1
compaction_throughput: 16MiB/s
disk_failure_policy: die
commit_failure_policy: die
# one small machine runs everything: slow is not dead
read_request_timeout: 20s
range_request_timeout: 30s
write_request_timeout: 20s
cas_contention_timeout: 10s
truncate_request_timeout: 60s
request_timeout: 30s
authenticator: AllowAllAuthenticator
authorizer: AllowAllAuthorizer
"""

SYNC: Final = "commitlog_sync: batch"
NO_SYNC: Final = "commitlog_sync: periodic\ncommitlog_sync_period: 10s"
UNSAFE: Final = ("-Dcassandra.unsafesystem=true", "-Dcassandra.test.flush_local_schema_changes=false")
"""A change of the schema syncs nothing either, which is most of the time that it takes. None survives a kill."""

LOGGING: Final = """\
<configuration>
  <appender name="FILE" class="ch.qos.logback.core.rolling.RollingFileAppender">
    <file>{logs}/cassandra.log</file>
    <rollingPolicy class="ch.qos.logback.core.rolling.FixedWindowRollingPolicy">
      <fileNamePattern>{logs}/cassandra.log.%i</fileNamePattern>
      <minIndex>1</minIndex>
      <maxIndex>2</maxIndex>
    </rollingPolicy>
    <triggeringPolicy class="ch.qos.logback.core.rolling.SizeBasedTriggeringPolicy">
      <maxFileSize>4MB</maxFileSize>
    </triggeringPolicy>
    <encoder><pattern>%d{{ISO8601}} %-5level %logger{{20}} %msg%n</pattern></encoder>
  </appender>
  <root level="{level}"><appender-ref ref="FILE"/></root>
  <logger name="org.apache.cassandra.service.CassandraDaemon" level="INFO"/>
</configuration>
"""

EXPORTED: Final = (
    "java.base/jdk.internal.misc",
    "java.base/java.lang.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi",
    "java.rmi/sun.rmi.registry",
    "java.rmi/sun.rmi.server",
    "java.sql/java.sql",
    "jdk.attach/sun.tools.attach",
    "jdk.unsupported/sun.misc",
)
OPENED: Final = (
    "java.base/java.io",
    "java.base/java.lang",
    "java.base/java.lang.module",
    "java.base/java.lang.reflect",
    "java.base/java.nio",
    "java.base/java.util",
    "java.base/java.util.concurrent",
    "java.base/java.util.concurrent.atomic",
    "java.base/jdk.internal.loader",
    "java.base/jdk.internal.math",
    "java.base/jdk.internal.module",
    "java.base/jdk.internal.ref",
    "java.base/jdk.internal.reflect",
    "java.base/jdk.internal.util.jar",
    "java.base/sun.nio.ch",
    "jdk.management/com.sun.management.internal",
)
"""What Cassandra reaches into of Java 17, as its own start script says."""

OPTIONS: Final = (
    "-Xss384k",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=200",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.security.manager=allow",  # Java 18 and newer refuse it otherwise
    "-Djdk.attach.allowAttachSelf=true",
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dcassandra-foreground=yes",
    # there is no ring to wait for
    "-Dcassandra.skip_wait_for_gossip_to_settle=0",
    "-Dcassandra.ring_delay_ms=1",
    "-Dcassandra.superuser_setup_delay_ms=0",
    *(f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTED),
    *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENED),
)


class Cassandra(Engine):
    """One node on loopback."""

    name: ClassVar[str] = "cassandra"

    @property
    def ports(self) -> tuple[int, ...]:
        """Clients', other nodes', other nodes' with TLS (not opened)."""
        return (self.place.base_port + 42, self.place.base_port + 43, self.place.base_port + 44)

    @property
    def url(self) -> str:
        """The node."""
        return f"cassandra://{HOST}:{self.ports[0]}"

    @property
    def settings(self) -> Mapping[str, str]:
        """The durable store, in a keyspace of its own."""
        return {"MARQUEE_DURABLE_URL": f"{self.url}/marquee"}

    def missing(self) -> str | None:
        """Java and the jars."""
        return missing_java() or missing_jars(self.name, self.place.jars)

    def prepare(self) -> None:
        """Write the settings."""
        place, (port, storage, ssl) = self.place, self.ports
        place.conf.mkdir(parents=True, exist_ok=True)
        place.data.mkdir(parents=True, exist_ok=True)
        values = {"host": HOST, "port": port, "storage": storage, "ssl": ssl, "data": place.data}
        values["sync"] = NO_SYNC if place.throwaway else SYNC
        (place.conf / "cassandra.yaml").write_text(SETTINGS.format(**values))
        level = "WARN" if place.quick else "INFO"
        (place.conf / "logback.xml").write_text(LOGGING.format(logs=place.logs, level=level))

    def processes(self) -> dict[str, Command]:
        """Return the node."""
        classes = jars(self.name, self.place.jars)
        agent = next(classes.glob("jamm-*.jar"))  # measures what memtables hold
        heap = HEAP_MB // 2 if self.place.quick else HEAP_MB
        quick = ("-XX:TieredStopAtLevel=1",) if self.place.quick else ()
        unsafe = UNSAFE if self.place.throwaway else ()
        memory = (f"-Xms{heap // 2}m", f"-Xmx{heap}m", *quick, *unsafe)
        storage = f"-Dcassandra.storagedir={self.place.data}"
        argv = (java() or "java", f"-javaagent:{agent}", *memory, *OPTIONS, storage, "-cp")
        classpath = f"{self.place.conf}:{classes}/*"
        return {self.name: Command((*argv, classpath, "org.apache.cassandra.service.CassandraDaemon"), self.place.data)}

    def check(self) -> None:
        """Ask for its version."""
        if not is_open(self.ports[0]):
            raise TryAgain("it does not listen yet")
        from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
        from cassandra.policies import RoundRobinPolicy

        cluster = Cluster(
            [HOST],
            port=self.ports[0],
            protocol_version=PROTOCOL,
            execution_profiles={EXEC_PROFILE_DEFAULT: ExecutionProfile(RoundRobinPolicy())},
            connect_timeout=CONNECT_S,
            monitor_reporting_enabled=False,
        )
        try:
            cluster.connect().execute("SELECT release_version FROM system.local", timeout=CONNECT_S)
        finally:
            cluster.shutdown()

    def own_logs(self) -> list[Path]:
        """Return what Cassandra logs."""
        return [self.place.logs / "cassandra.log"]
