"""Growth and rebuild on Kafka, Redis and Cassandra: the same tests as on the embedded engines."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.event_log.open import open_event_log
from streams.event_log.protocol import EventLog
from streams.rebuild.build import Engines
from streams.settings import Settings
from streams.stores.redis.address import address_of
from tests.streams.event_log.kafka_topics import own_prefix
from tests.streams.rebuild.live import publish
from tests.streams.rebuild.test_growth import (
    test_events_that_come_while_a_topic_grows_twice_count_once_each as test_growth_on_real_engines,  # noqa: F401
)
from tests.streams.rebuild.test_rebuild import (
    open_again,
)
from tests.streams.rebuild.test_rebuild import (
    test_a_rebuild_beside_live_agents_ends_as_the_replay_says_and_the_old_states_are_deleted as test_rebuild_on_real_engines,  # noqa: F401,E501
)
from tests.streams.stores.cassandra_places import own_keyspace
from tests.streams.stores.redis_places import delete_all


@pytest.fixture
def settings(tmp_path: Path, kafka_url: str, redis_url: str, cassandra_url: str) -> Iterator[Settings]:
    with contextlib.ExitStack() as stack:
        prefix = stack.enter_context(own_prefix(kafka_url))
        settings = Settings(
            state=tmp_path,
            log_url=f"{kafka_url}/{prefix}",
            hot_url=f"{redis_url}?prefix=test-{uuid.uuid4().hex[:8]}",
            durable_url=stack.enter_context(own_keyspace(cassandra_url)),
            session_timeout_ms=6000,
            partitions=2,
            warehouse_flush_s=0.2,
            redis_timeout_s=5.0,
            cassandra_timeout_s=20.0,
            kafka_request_timeout_ms=20_000,
        )
        stack.callback(delete_all, address_of(settings))
        yield settings


@pytest.fixture
def log(settings: Settings) -> Iterator[EventLog]:
    log = open_event_log(settings)
    yield log
    log.close()


@pytest.fixture
def engines(settings: Settings) -> Iterator[Engines]:
    publish(settings)
    with open_again(settings) as engines:
        yield engines
