"""The client with which a Faust app is a member of its consumer group."""

from __future__ import annotations

from typing import Final

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from yarl import URL

from streams.event_log.kafka.config import KafkaConfig

SCHEME: Final = "marquee+kafka"
"""Of the transport, an entry point in `faust.transports`."""

HEARTBEATS: Final = 6
"""In each session timeout: so soon does a member hear of a rebalance, and so many may be lost."""

FETCH_WAIT_MS: Final = 100
"""How long a broker may keep a fetch open that finds nothing; what a seek asks for waits behind it."""

METADATA_AGE_MS: Final = 5_000
"""How soon a topic that was created, or has grown, is noticed."""


def faust_urls(config: KafkaConfig) -> list[URL]:
    """Return the brokers as Faust takes them."""
    return [URL(f"{SCHEME}://{server}") for server in config.bootstrap.split(",")]


def new_member(config: KafkaConfig, group: str) -> AIOKafkaConsumer:
    """Return a client that joins `group` once it is started and subscribed."""
    session_ms = config.session_timeout_ms
    return AIOKafkaConsumer(
        **{
            **config.client_arguments(),
            "client_id": f"{group}-faust",
            "request_timeout_ms": config.request_timeout_ms + session_ms,  # a join waits for the other members
        },
        group_id=group,
        partition_assignment_strategy=_assignors(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=session_ms,
        rebalance_timeout_ms=session_ms,
        max_poll_interval_ms=session_ms,
        heartbeat_interval_ms=session_ms // HEARTBEATS,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        metadata_max_age_ms=METADATA_AGE_MS,
    )


def _assignors() -> list[type[AbstractPartitionAssignor]]:
    """Return assignors by preference. The sticky one keeps what it knows in its class: each member needs its own."""
    sticky = type("StickyPartitionAssignor", (StickyPartitionAssignor,), {})
    return [sticky, RoundRobinPartitionAssignor]
