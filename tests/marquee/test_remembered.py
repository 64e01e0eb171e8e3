"""What a platform's state folder remembers of where it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from marquee.remembered import FILE, recall, remember
from streams.settings import Settings

KAFKA = "kafka://127.0.0.1:9092"


def test_commands_find_the_engines_and_the_address_of_a_platform(tmp_path: Path) -> None:
    remember(Settings(state=tmp_path, log_url=KAFKA, port=8123))
    environment = {"MARQUEE_STATE": str(tmp_path)}
    recall(environment)
    assert environment["MARQUEE_LOG_URL"] == KAFKA
    assert environment["MARQUEE_PORT"] == "8123"
    assert environment["MARQUEE_DURABLE_URL"] == "sqlite:durable.db"


def test_what_the_environment_says_counts_more(tmp_path: Path) -> None:
    remember(Settings(state=tmp_path, log_url=KAFKA, port=8123))
    environment = {"MARQUEE_STATE": str(tmp_path), "MARQUEE_LOG_URL": "embedded:log", "MARQUEE_PORT": "1"}
    recall(environment)
    assert (environment["MARQUEE_LOG_URL"], environment["MARQUEE_PORT"]) == ("embedded:log", "1")


def test_a_platform_that_starts_again_finds_its_engines_and_takes_its_address_from_the_caller(tmp_path: Path) -> None:
    remember(Settings(state=tmp_path, log_url=KAFKA, port=8123))
    environment = {"MARQUEE_STATE": str(tmp_path)}
    recall(environment, address=False)
    assert environment["MARQUEE_LOG_URL"] == KAFKA
    assert "MARQUEE_PORT" not in environment


@pytest.mark.parametrize("content", [None, b"", b"[1]", b'{"log_url": 7}', b"\xff"])
def test_a_folder_that_remembers_nothing_leaves_the_defaults(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    environment = {"MARQUEE_STATE": str(tmp_path)}
    recall(environment)
    assert environment == {"MARQUEE_STATE": str(tmp_path)}


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    remember(Settings(state=tmp_path, sql_url="postgresql://marquee:secret@127.0.0.1/marquee"))
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
