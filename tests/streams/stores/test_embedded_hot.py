"""The embedded hot store: the contract, and what happens to its files."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.errors import FixRequest, SlowDown, TryAgain
from streams.positions import NOTHING
from streams.stores import lmdb_environment
from streams.stores.embedded_hot import EmbeddedHotStore
from streams.stores.lmdb_environment import CHECK_INTERVAL_S, MAX_KINDS
from tests.streams.stores.contract import ROOT, StateStoreContract
from tests.streams.stores.engines import HOT_MAX_BYTES, embedded_hot, entry


class TestEmbeddedHotStore(StateStoreContract):
    engine = "embedded_hot"


def _wait_for_check() -> None:
    time.sleep(CHECK_INTERVAL_S * 1.2)


def _filled(folder: Path) -> EmbeddedHotStore:
    store = embedded_hot(folder)
    store.put("member", [entry(b"a", 5, os.urandom(100_000))])
    return store


@pytest.mark.parametrize(
    "delete",
    [
        lambda folder: shutil.rmtree(folder),
        lambda folder: (folder / "data.mdb").unlink(),
        lambda folder: (folder / "lock.mdb").unlink(),
    ],
    ids=["folder", "data file", "lock file"],
)
def test_a_store_whose_files_are_deleted_goes_on_empty(tmp_path: Path, delete: Callable[[Path], None]) -> None:
    store = _filled(tmp_path)
    delete(tmp_path / "hot")
    _wait_for_check()
    assert store.get("member", [b"a"]) == [None]
    assert store.put("member", [entry(b"a", 1)]) == [True]
    other_process = f"""
from pathlib import Path
from tests.streams.stores.engines import embedded_hot
print(embedded_hot(Path({str(tmp_path)!r})).positions("member", [b"a"]))
"""
    found = subprocess.run([sys.executable, "-c", other_process], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[1]\n"
    store.close()


def test_a_write_into_deleted_files_is_not_acknowledged(tmp_path: Path) -> None:
    store = _filled(tmp_path)
    store.positions("member", [b"a"])
    shutil.rmtree(tmp_path / "hot")
    with pytest.raises(TryAgain):
        store.put("member", [entry(b"b", 6)])
    assert store.put("member", [entry(b"b", 6)]) == [True]
    store.close()


def test_files_put_in_the_place_of_others_are_used(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = embedded_hot(tmp_path / "other")
    other.put("member", [entry(b"b", 9)])
    other.close()
    store = _filled(tmp_path)
    (tmp_path / "hot").rename(tmp_path / "old")
    (tmp_path / "other" / "hot").rename(tmp_path / "hot")
    _wait_for_check()
    assert store.positions("member", [b"a", b"b"]) == [NOTHING, 9]
    store.close()


@pytest.mark.parametrize("content", [b"not a database" * 1_000, bytes(8_192)], ids=["text", "zeros"])
def test_files_that_are_no_store_are_an_answer_with_the_reason_until_they_are_removed(
    tmp_path: Path, content: bytes
) -> None:
    _filled(tmp_path).close()
    (tmp_path / "hot" / "data.mdb").write_bytes(content)
    store = embedded_hot(tmp_path)
    for _ in range(2):
        with pytest.raises(TryAgain, match="not an LMDB file"):
            store.get("member", [b"a"])
        with pytest.raises(TryAgain):
            store.put("member", [entry(b"a", 1)])
        with pytest.raises(TryAgain):
            list(store.scan("member"))
    shutil.rmtree(tmp_path / "hot")
    _wait_for_check()
    assert store.put("member", [entry(b"a", 1)]) == [True]
    store.close()


@pytest.mark.parametrize("is_open", [True, False], ids=["while open", "while closed"])
def test_a_cut_file_is_refused_before_it_kills_the_process(tmp_path: Path, is_open: bool) -> None:
    store = _filled(tmp_path)
    if not is_open:
        store.close()
    data = tmp_path / "hot" / "data.mdb"
    _wait_for_check()
    os.truncate(data, data.stat().st_size // 2)
    store = store if is_open else embedded_hot(tmp_path)
    for _ in range(2):
        with pytest.raises(TryAgain, match="was cut"):
            store.get("member", [b"a"])
    store.close()


def test_lost_pages_are_an_answer(tmp_path: Path) -> None:
    _filled(tmp_path).close()
    data = tmp_path / "hot" / "data.mdb"
    size = data.stat().st_size
    with data.open("r+b") as file:
        file.seek(8_192)
        file.write(bytes(size - 8_192))
    store = embedded_hot(tmp_path)
    for _ in range(2):
        with pytest.raises(TryAgain, match="away"):
            store.get("member", [b"a"])
        with pytest.raises(TryAgain, match="away"):
            store.put("member", [entry(b"a", 6)])
    store.close()


def test_a_folder_that_cannot_be_made_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "hot").write_text("a file where the folder should be")
    store = embedded_hot(tmp_path)
    with pytest.raises(TryAgain, match="cannot be opened"):
        store.get("member", [b"a"])
    (tmp_path / "hot").unlink()
    _wait_for_check()
    assert store.get("member", [b"a"]) == [None]
    store.close()


def test_a_full_store_says_so_and_still_reads(tmp_path: Path) -> None:
    store = EmbeddedHotStore(tmp_path / "small", 1 << 20)
    store.put("member", [entry(b"a", 1, b"kept")])
    with pytest.raises(SlowDown, match="full"):
        store.put("member", [entry(b"%d" % number, 1, bytes(10_000)) for number in range(200)])
    assert store.get("member", [b"a", b"0"]) == [entry(b"a", 1, b"kept").value, None]
    assert store.put("member", [entry(b"a", 2)]) == [True]
    store.close()


def test_the_number_of_kinds_is_bounded(tmp_path: Path) -> None:
    store = embedded_hot(tmp_path)
    for number in range(MAX_KINDS):
        store.put(f"kind-{number}", [entry(b"a", 1)])
    with pytest.raises(FixRequest, match="kinds"):
        store.put("one-more", [entry(b"a", 1)])
    assert store.positions("kind-0", [b"a"]) == [1]
    store.close()


def test_a_kind_that_another_process_made_is_found(tmp_path: Path) -> None:
    store = embedded_hot(tmp_path)
    assert store.get("late", [b"a"]) == [None]
    script = f"""
from pathlib import Path
from tests.streams.stores.engines import embedded_hot, entry
embedded_hot(Path({str(tmp_path)!r})).put("late", [entry(b"a", 3)])
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
    assert store.positions("late", [b"a"]) == [3]
    store.close()


def test_a_store_written_before_the_last_boot_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _filled(tmp_path).close()
    boot = tmp_path / "boot_id"
    boot.write_text("another boot")
    monkeypatch.setattr(lmdb_environment, "_BOOT_ID", boot)
    store = embedded_hot(tmp_path)
    assert store.positions("member", [b"a"]) == [NOTHING]
    store.put("member", [entry(b"a", 1)])
    store.close()
    store = embedded_hot(tmp_path)
    assert store.positions("member", [b"a"]) == [1]
    store.close()


def test_a_closed_store_answers_that_it_is_closed(tmp_path: Path) -> None:
    store = _filled(tmp_path)
    store.close()
    store.close()
    with pytest.raises(TryAgain, match="closed"):
        store.get("member", [b"a"])


def test_readers_go_on_while_files_are_deleted_and_made_anew(tmp_path: Path) -> None:
    store = embedded_hot(tmp_path)
    stop, wrong = threading.Event(), list[BaseException]()

    def read() -> None:
        while not stop.is_set():
            try:
                assert all(value is None or len(value) == 5_008 for value in store.get("member", [b"a", b"b"]))
                store.positions("member", [b"a"])
            except TryAgain:
                pass
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test must see it
                wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for position in range(1, 7):
        with contextlib.suppress(TryAgain):
            store.put("member", [entry(b"a", position, bytes(5_000))])
        time.sleep(0.05)
        if position % 2:
            shutil.rmtree(tmp_path / "hot", ignore_errors=True)
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong
    store.close()


def test_a_process_that_died_while_reading_leaves_no_reader_behind(tmp_path: Path) -> None:
    store = _filled(tmp_path)
    script = f"""
import os, lmdb
environment = lmdb.open({str(tmp_path / "hot")!r}, map_size={HOT_MAX_BYTES}, max_dbs=4, max_readers=1022)
reading = environment.begin()
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    store.close()
    store = embedded_hot(tmp_path)
    store.positions("member", [b"a"])
    environment = lmdb_environment.acquire(tmp_path / "hot", HOT_MAX_BYTES)
    assert environment.current().env.readers().strip() == "(no active readers)"
    lmdb_environment.release(environment)
    store.close()
