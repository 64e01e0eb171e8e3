"""What agents say of themselves, in logs and over HTTP."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request

import pytest

from streams.agents.health import AgentHealth
from streams.agents.health_server import health_server
from streams.agents.json_logs import JsonFormatter


def fetch(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_readiness_names_the_agents_that_wait_and_why() -> None:
    health = AgentHealth()
    health.ready("sink")
    with health_server(health, 0) as port:
        assert fetch(port, "/readyz") == (200, b'{"agents":{"sink":null}}')
        health.waiting("sink", "the disk is full")
        assert fetch(port, "/readyz") == (503, b'{"agents":{"sink":"the disk is full"}}')
        status, metrics = fetch(port, "/metrics")
        assert status == 200
        assert b'marquee_agent_ready{agent="sink"} 0.0' in metrics
        assert fetch(port, "/elsewhere")[0] == 404


def test_a_log_line_is_one_json_object_with_the_extras() -> None:
    record = logging.makeLogRecord({"name": "streams", "levelname": "WARNING", "msg": "waits\nfor %s", "args": ("x",)})
    record.agent, record.odd = "sink", object
    line = JsonFormatter().format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert (found["level"], found["message"], found["agent"]) == ("warning", "waits\nfor x", "sink")
    assert found["odd"] == repr(object)


def test_a_log_line_carries_the_exception(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("a reason")
    except ValueError:
        logging.getLogger("streams").exception("failed")
    assert "a reason" in json.loads(JsonFormatter().format(caplog.records[0]))["exception"]
