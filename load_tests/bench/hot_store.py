"""LMDB against SQLite as the embedded hot store, side by side: `python -m load_tests.bench.hot_store`.

Both behind the same protocol, neither synced on each write, in turns within one run; the best of the rounds counts. The
second half measures the same reads while another process writes batches as fast as it can.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

from streams.stores.embedded_hot import EmbeddedHotStore
from streams.stores.protocol import StateEntry, StateStore
from streams.stores.sqlite_durable import SqliteDurableStore

MEMBERS: Final = 5_000
STATE_BYTES: Final = 4_000
"""A member's packed state after a hundred events or so."""

BATCH: Final = 500
READS: Final = 5_000
ROUNDS: Final = 3

ENGINES: Final[dict[str, Callable[[Path], StateStore]]] = {
    "lmdb": lambda folder: EmbeddedHotStore(folder / "hot", 1 << 30),
    "sqlite": lambda folder: SqliteDurableStore(folder / "hot.db"),
}


def keys() -> list[bytes]:
    """Return the members' keys."""
    return [b"member-%06d" % number for number in range(MEMBERS)]


def put_all(store: StateStore, position: int) -> None:
    """Write every member's state at a position, in batches."""
    value = position.to_bytes(8, "big") + bytes(range(256)) * (STATE_BYTES // 256)
    entries = [StateEntry(key, value) for key in keys()]
    for start in range(0, MEMBERS, BATCH):
        store.put("member", entries[start : start + BATCH])


def per_second(work: Callable[[], None], operations: int) -> float:
    """Return how many operations a second `work`, which does `operations`, comes to."""
    begin_s = time.perf_counter()
    work()
    return operations / (time.perf_counter() - begin_s)


def read_one_by_one(read: Callable[[str, list[bytes]], object]) -> Callable[[], None]:
    """Return work that reads READS single keys."""
    chosen = [[key] for key in keys()[:READS]]

    def work() -> None:
        for key in chosen:
            read("member", key)

    return work


@contextmanager
def writing_elsewhere(engine: str, folder: Path) -> Iterator[None]:
    """Let another process write every state over and over in the meantime."""
    command = [sys.executable, "-m", "load_tests.bench.hot_store", engine, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield
        child.kill()


def measure(stores: dict[str, StateStore], folders: dict[str, Path]) -> dict[str, dict[str, float]]:
    """Return operations per second by what was done and engine."""
    best: dict[str, dict[str, float]] = {}

    def note(what: str, engine: str, rate: float) -> None:
        row = best.setdefault(what, {})
        row[engine] = max(rate, row.get(engine, 0.0))

    for round_number in range(1, ROUNDS + 1):
        for engine, store in stores.items():
            note("put", engine, per_second(partial(put_all, store, round_number), MEMBERS))
            note("get", engine, per_second(read_one_by_one(store.get), READS))
            note("positions", engine, per_second(read_one_by_one(store.positions), READS))
    for engine, store in stores.items():
        with writing_elsewhere(engine, folders[engine]):
            for _ in range(ROUNDS):
                note("get beside a writer", engine, per_second(read_one_by_one(store.get), READS))
                note("positions beside a writer", engine, per_second(read_one_by_one(store.positions), READS))
    return best


def main() -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        folders = {engine: Path(folder) / engine for engine in ENGINES}
        stores = {engine: ENGINES[engine](folders[engine]) for engine in ENGINES}
        print(f"{'a second':28}{'lmdb':>12}{'sqlite':>12}{'ratio':>8}")
        for what, rates in measure(stores, folders).items():
            print(f"{what:28}{rates['lmdb']:12,.0f}{rates['sqlite']:12,.0f}{rates['lmdb'] / rates['sqlite']:8.1f}")
        for store in stores.values():
            store.close()


def write_forever(engine: str, folder: str) -> None:
    """Write every state over and over, having said so."""
    store = ENGINES[engine](Path(folder))
    print("writing", flush=True)
    for position in count(1_000_000):
        put_all(store, position)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        write_forever(sys.argv[1], sys.argv[2])
    else:
        main()
