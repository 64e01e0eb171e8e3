"""Engines in containers, where a Docker engine answers: the images are those of deploy/compose.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from marquee.engines.engine import HOST

COMPOSE = Path(__file__).resolve().parents[1] / "deploy" / "compose.yaml"


class Container(NamedTuple):
    """How an engine runs in a container: its clients' port inside, and its environment; {port} is the one outside."""

    port: int
    environment: Mapping[str, str]


CONTAINERS = {
    "kafka": Container(
        9092,
        {
            "KAFKA_PROCESS_ROLES": "broker,controller",
            "KAFKA_NODE_ID": "1",
            "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
            "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
            "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{HOST}:{{port}}",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
            "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
            "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "KAFKA_GROUP_MIN_SESSION_TIMEOUT_MS": "500",
        },
    ),
    "cassandra": Container(
        9042,
        {
            "MAX_HEAP_SIZE": "512M",
            "HEAP_NEWSIZE": "128M",
            "JVM_EXTRA_OPTS": "-Dcassandra.skip_wait_for_gossip_to_settle=0 -Dcassandra.ring_delay_ms=1",
        },
    ),
    "redis": Container(6379, {}),
    "postgres": Container(
        5432, {"POSTGRES_USER": "marquee", "POSTGRES_DB": "marquee", "POSTGRES_HOST_AUTH_METHOD": "trust"}
    ),
}


def run_container(name: str, port: int) -> str:
    """Start an engine in a container that outlives this process, on a port of loopback; return the container's id."""
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    testcontainers_config.ryuk_disabled = True  # the run's first process removes it, not the first worker to end
    found = CONTAINERS[name]
    container: Any = DockerContainer(image(name))
    for key, value in found.environment.items():
        container.with_env(key, value.format(port=port))
    container.ports[f"{found.port}/tcp"] = (HOST, port)
    container.start()
    return str(container.get_wrapped_container().id)


def image(name: str) -> str:
    """Return the image of an engine, as deploy/compose.yaml pins it."""
    return str(yaml.safe_load(COMPOSE.read_text())["services"][name]["image"])
