"""The embedded durable store: the contract, and what happens to its file."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.errors import SlowDown, TryAgain
from streams.stores import sqlite_connections
from streams.stores.protocol import HistoryRow, Profile
from streams.stores.sqlite_connections import MAX_IDLE
from streams.stores.sqlite_durable import SCHEMA, SqliteDurableStore
from tests.streams.stores.contract import DurableStoreContract
from tests.streams.stores.engines import entry


class TestSqliteDurableStore(DurableStoreContract):
    engine = "sqlite_durable"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "durable.db"


def _impatient(path: Path) -> SqliteDurableStore:
    return SqliteDurableStore(path, read_timeout_ms=20, write_timeout_ms=20)


def _filled(path: Path) -> SqliteDurableStore:
    store = _impatient(path)
    store.put("member", [entry(b"a", 5)])
    return store


def test_while_another_holds_the_write_lock_reads_go_on_and_writes_say_to_try_again(path: Path) -> None:
    store = _filled(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert store.positions("member", [b"a"]) == [5]
    with pytest.raises(TryAgain, match="locked"):
        store.put("member", [entry(b"a", 6)])
    with pytest.raises(TryAgain):
        store.put_profiles([Profile("m")])
    other.execute("ROLLBACK")
    other.close()
    assert store.put("member", [entry(b"a", 6)]) == [True]
    store.close()


def test_a_file_that_another_locks_wholly_says_to_try_again(path: Path) -> None:
    _filled(path).close()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    store = _impatient(path)
    for _ in range(2):
        with pytest.raises(TryAgain, match="locked"):
            store.get("member", [b"a"])
    other.close()
    assert store.positions("member", [b"a"]) == [5]
    store.close()


def test_a_deleted_file_is_missed_until_it_is_back(path: Path) -> None:
    store = _filled(path)
    path.rename(path.with_name("aside"))
    for _ in range(2):
        with pytest.raises(TryAgain, match="missing"):
            store.get("member", [b"a"])
        with pytest.raises(TryAgain, match="missing"):
            store.put("member", [entry(b"a", 6)])
    assert not path.exists()
    path.with_name("aside").rename(path)
    assert store.positions("member", [b"a"]) == [5]
    store.close()


def test_a_file_put_in_the_place_of_another_is_used_and_its_log_left_alone(path: Path, tmp_path: Path) -> None:
    store = _filled(path)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    successor = _impatient(path)
    successor.put("member", [entry(b"b", 7)])
    assert store.positions("member", [b"a", b"b"]) == [0, 7]
    store.close()
    assert successor.put("member", [entry(b"b", 8)]) == [True]
    successor.close()
    again = _impatient(path)
    assert again.positions("member", [b"b"]) == [8]
    again.close()


def test_a_file_that_vanishes_just_before_it_is_opened_is_not_made_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = _filled(path)
    store._connections._drop_idle()

    @contextlib.contextmanager
    def alone_after_it_vanished(folder: Path) -> Iterator[None]:
        path.unlink()
        yield

    monkeypatch.setattr(sqlite_connections, "alone_in", alone_after_it_vanished)
    with pytest.raises(TryAgain, match="missing"):
        store.positions("member", [b"a"])
    assert not path.exists()
    store.close()


def _replace(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with contextlib.closing(_impatient(path)) as successor:
        successor.put("member", [entry(b"b", 7)])


def test_a_write_to_a_file_that_is_replaced_under_it_is_not_taken_for_done(path: Path) -> None:
    store = _filled(path)
    with pytest.raises(TryAgain, match="replaced"), store._connections.writing():
        _replace(path)
    assert store.positions("member", [b"b"]) == [7]
    store.close()


def test_a_log_left_by_a_deleted_file_is_not_taken_for_the_new_ones(path: Path) -> None:
    store = _filled(path)
    log = path.with_name(path.name + "-wal").read_bytes()
    store.close()
    path.unlink()
    path.with_name(path.name + "-wal").write_bytes(log)
    new = _impatient(path)
    assert new.positions("member", [b"a"]) == [0]
    new.close()


@pytest.mark.parametrize("content", [b"not a database" * 1_000, os.urandom(8_192)], ids=["text", "noise"])
def test_a_file_that_is_no_database_says_so(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    store = _impatient(path)
    for _ in range(2):
        with pytest.raises(TryAgain, match="not a database"):
            store.get("member", [b"a"])
    store.close()


def test_damaged_pages_are_an_answer(path: Path) -> None:
    store = _impatient(path)
    store.put("member", [entry(b"%04d" % number, 1, bytes(500)) for number in range(200)])
    store.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(os.urandom(size - 4_096))
    store = _impatient(path)
    with pytest.raises(TryAgain):
        list(store.scan("member"))
    store.close()


def test_a_file_of_a_later_schema_is_refused(path: Path) -> None:
    _filled(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={len(SCHEMA) + 1}")
    connection.close()
    store = _impatient(path)
    with pytest.raises(TryAgain, match=f"reads {len(SCHEMA)}"):
        store.get("member", [b"a"])
    store.close()


def test_a_file_of_an_earlier_schema_is_brought_up_to_date_and_keeps_what_it_holds(path: Path) -> None:
    connection = sqlite3.connect(path)
    for statement in SCHEMA[0].split(";"):
        connection.execute(statement)
    connection.execute("INSERT INTO history VALUES ('m', 7, 5, 'play', 't', NULL)")
    connection.execute("PRAGMA user_version=1")
    connection.commit()
    connection.close()
    store = SqliteDurableStore(path)
    later = HistoryRow("m", 6, 8, "play", "t", 1.0, "a page")
    store.append_history([later])
    assert store.history("m", 9) == [later, HistoryRow("m", 5, 7, "play", "t")]
    store.close()


def test_a_folder_that_cannot_be_made_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = _impatient(tmp_path / "file" / "durable.db")
    with pytest.raises(TryAgain, match="cannot be opened"):
        store.get("member", [b"a"])
    store.close()


def test_a_file_that_cannot_be_written_is_still_read(path: Path) -> None:
    store = _filled(path)
    with store._connections.reading() as connection:
        connection.execute("PRAGMA query_only=ON")
    with pytest.raises(TryAgain, match="readonly"):
        store.put("member", [entry(b"a", 6)])
    assert store.positions("member", [b"a"]) == [5]
    store.close()


def test_a_file_that_cannot_grow_says_to_slow_down(path: Path) -> None:
    store = _filled(path)
    with store._connections.reading() as connection:
        connection.execute("PRAGMA max_page_count=20")
    with pytest.raises(SlowDown, match="full"):
        store.put("member", [entry(b"a", 6, bytes(200_000))])
    assert store.positions("member", [b"a"]) == [5]
    store.close()


def test_an_error_in_a_write_leaves_nothing_of_it(path: Path) -> None:
    store = _filled(path)
    with contextlib.suppress(ZeroDivisionError), store._connections.writing() as connection:
        connection.execute("DELETE FROM states")
        raise ZeroDivisionError
    assert store.positions("member", [b"a"]) == [5]
    store.close()


def test_many_threads_leave_few_connections(path: Path) -> None:
    store = _filled(path)
    barrier = threading.Barrier(2 * MAX_IDLE)

    def read() -> None:
        with store._connections.reading() as connection:
            connection.execute("SELECT 1")
            barrier.wait(timeout=10)

    threads = [threading.Thread(target=read) for _ in range(2 * MAX_IDLE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store._connections._idle) == MAX_IDLE
    store.close()
    assert len(store._connections._idle) == 0
    with pytest.raises(TryAgain, match="closed"):
        store.get("member", [b"a"])
