from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from serving.experiments.audit import write_entry
from serving.experiments.roles import Actor, add_key, new_key
from streams.settings import Settings
from streams.stores.open import open_durable
from streams.stores.protocol import Profile
from streams.stores.sql import open_sql, writing
from tests.serving.platform import MEMBERS, prepare, serving_process, small_settings


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A platform's folder with a catalogue, a past and a model."""
    settings = small_settings(tmp_path_factory.mktemp("platform"))
    prepare(settings)
    durable = open_durable(settings)
    durable.put_profiles([Profile(member, "NL", "tv", 1, 2) for member in MEMBERS])
    durable.close()
    return settings


@pytest.fixture(scope="module")
def url(settings: Settings) -> Iterator[str]:
    """The URL of a running `marquee serve`."""
    with serving_process(settings) as (_process, url):
        yield url


@pytest.fixture(scope="module")
def approver(settings: Settings, url: str) -> str:
    """A key that may do everything, on the running platform."""
    return make_key(settings, "approver")


def make_key(settings: Settings, role: str) -> str:
    """Return a new key of a role, named by it."""
    key, sql = new_key(), open_sql(settings)
    add_key(sql, key, f"{role}-{key[-6:]}", role, 1)
    sql.dispose()
    return key


def lengthen_trail(settings: Settings, experiment_id: str, count: int) -> None:
    """Add as many entries to an experiment's audit trail, numbered in their reasons."""
    sql = open_sql(settings)
    with writing(sql) as connection:
        for number in range(count):
            detail = {"reason": f"edit {number}"}
            write_entry(connection, experiment_id, 1, Actor("ed", "editor"), "edit", detail, 1_700_000_000_000)
    sql.dispose()


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=10) as client:
        yield client


@pytest.fixture(scope="module")
def agents(settings: Settings) -> Iterator[None]:
    """A running `marquee agents features`."""
    environment = os.environ | {"MARQUEE_STATE": str(settings.state), "MARQUEE_LOG_SYNC": "false"}
    process = subprocess.Popen([sys.executable, "-m", "marquee", "agents", "features"], env=environment)
    yield
    process.terminate()
    process.wait(10)
