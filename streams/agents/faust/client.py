"""The client with which a Faust app is a member of its consumer group."""

from __future__ import annotations

from typing import Final

from yarl import URL

from streams.event_log.kafka.config import KafkaConfig
from streams.event_log.kafka.consumer import FETCH_BYTES, REBALANCE_TIMEOUT_MS
from streams.event_log.kafka.group_client import GroupClient
from streams.event_log.kafka.membership import own_assignor

SCHEME: Final = "marquee+kafka"
"""Of the transport, an entry point in `faust.transports`."""

HEARTBEATS: Final = 20
"""In each session timeout: so soon does a member hear of a rebalance, and so many may be lost."""

FETCH_WAIT_MS: Final = 100
"""How long a broker may keep a fetch open that finds nothing; what a seek asks for waits behind it."""

METADATA_AGE_MS: Final = 2_000
"""How soon a topic that was created, or has grown, is noticed."""


def faust_urls(config: KafkaConfig) -> list[URL]:
    """Return the brokers as Faust takes them."""
    return [URL(f"{SCHEME}://{server}") for server in config.bootstrap.split(",")]


def new_client(config: KafkaConfig, group: str, session_ms: int) -> GroupClient:
    """Return a client that joins `group` (Kafka's name) once it is started and subscribed.

    session_ms: how long it may be silent; it may go without a poll for as long as the settings say."""
    rebalance_ms = max(session_ms, REBALANCE_TIMEOUT_MS)
    return GroupClient(
        **{
            **config.client_arguments(),
            "client_id": f"{group}-faust",
            "request_timeout_ms": config.request_timeout_ms + rebalance_ms,  # a join waits for the other members
        },
        group_id=group,
        partition_assignment_strategy=(own_assignor(),),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        session_timeout_ms=session_ms,
        rebalance_timeout_ms=rebalance_ms,
        max_poll_interval_ms=config.session_timeout_ms,
        heartbeat_interval_ms=max(session_ms // HEARTBEATS, 50),
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        metadata_max_age_ms=METADATA_AGE_MS,
        retry_backoff_ms=50,
    )
