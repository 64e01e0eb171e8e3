"""The embedded event log: the contract, and what is its own: bounds, retention, lost files."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.settings import Settings
from tests.streams.event_log.contract import EventLogContract


class TestEmbeddedLog(EventLogContract):
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        return Settings(state=tmp_path, log_url="embedded:log", session_timeout_ms=500, log_sync=False)
