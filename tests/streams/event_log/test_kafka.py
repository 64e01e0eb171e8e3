"""The event log on Kafka: the contract, and what is its own."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from streams.settings import Settings
from tests.streams.event_log.contract import EventLogContract


@pytest.fixture
def settings(tmp_path: Path, kafka_url: str) -> Settings:
    url = f"{kafka_url}/t{uuid.uuid4().hex[:12]}."
    return Settings(state=tmp_path, log_url=url, session_timeout_ms=600, partitions=1)


class TestKafkaLog(EventLogContract):
    appends_whole_batches = False
