"""The schema of a keyspace: made once by whoever is first, brought forward in order, never used by an older release."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.errors import FixRequest
from streams.stores.cassandra.address import parse_address
from streams.stores.cassandra.migrating import Migrator
from streams.stores.cassandra.schema import MIGRATIONS, Migration
from tests.streams.stores.cassandra_places import driver_session, own_keyspace, patient, schema_session

ROOT = Path(__file__).parents[3]
PROCESSES = 3
_OPEN = """
import sys
from tests.streams.stores.cassandra_places import patient
store = patient(sys.argv[1])
sys.stdin.readline()
print(store.positions("member", [b"a"]), flush=True)
store.close()
"""


@pytest.fixture(scope="module")
def url(cassandra_url: str) -> Iterator[str]:
    with own_keyspace(cassandra_url) as url:
        yield url


def _versions(url: str) -> list[int]:
    with driver_session(url) as session:
        rows: list[Any] = list(session.execute(f"SELECT version FROM {parse_address(url).keyspace}.schema_migrations"))
    return sorted(row[0] for row in rows)


def test_processes_that_start_at_once_make_the_schema_once_and_all_go_on(url: str) -> None:
    command = [sys.executable, "-c", _OPEN, url]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=90)[0] for process in processes] == ["[0]\n"] * PROCESSES
    assert _versions(url) == [migration.version for migration in MIGRATIONS]


def test_later_migrations_are_applied_once_in_order_by_several_at_once_and_an_older_release_says_what_to_do(
    url: str,
) -> None:
    patient(url).close()
    keyspace = parse_address(url).keyspace
    later = (
        *MIGRATIONS,
        Migration(100, "a table", ("CREATE TABLE IF NOT EXISTS {keyspace}.later (one int PRIMARY KEY)",)),
        Migration(101, "a row in it", ("INSERT INTO {keyspace}.later (one) VALUES (1) USING TIMESTAMP 1",)),
    )
    errors: list[BaseException] = []

    def migrate() -> None:
        try:
            with schema_session(url) as session:
                Migrator(session, keyspace, "datacenter1", 1, later).run()
        except BaseException as error:  # noqa: BLE001 - looked at below
            errors.append(error)

    threads = [threading.Thread(target=migrate) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert _versions(url) == [migration.version for migration in later]
    store = patient(url)
    for _ in range(2):
        with pytest.raises(FixRequest, match=f"{keyspace} has schema version 101, this release of Marquee knows"):
            store.positions("member", [b"a"])
    store.close()
