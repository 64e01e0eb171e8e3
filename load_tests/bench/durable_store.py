"""Cassandra as the durable store beside a bare loop of the driver: `python -m load_tests.bench.durable_store <url>`.

The limit is `execute_async` of one prepared statement with 128 requests under way. Both in turns within one run, in a
keyspace of its own that is dropped afterwards; the best of the rounds counts.
"""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from cassandra.cluster import Cluster

from streams.positions import pack_position
from streams.settings import Settings
from streams.stores.cassandra.address import parse_address
from streams.stores.cassandra.store import CassandraDurableStore
from streams.stores.protocol import HistoryRow, Profile, StateEntry, position_of

ROWS: Final = 20_000
"""What an agent writes at once, at most."""

ROWS_A_MEMBER: Final = (1, 3, 7, 20)
STATES: Final = ((1_500, 6_000), (8_000, 2_000), (25_000, 800))
"""(bytes, states): of titles, of members, of busy members."""

BARE_SHARE: Final = 5
"""The bare loop writes one row in so many: it is a rate that is wanted."""

ROUNDS: Final = 3
WINDOW: Final = 128
TIMEOUT_S: Final = 30.0


def rows(round_number: int, a_member: int) -> list[HistoryRow]:
    """Return rows of random members."""
    rng = random.Random(a_member)
    first = pack_position(1, round_number * ROWS)
    return [
        HistoryRow(
            f"member-{rng.randrange(ROWS // a_member)}", first + number, 1_700_000_000_000 + number, "play", "t", 4.5
        )
        for number in range(ROWS)
    ]


def states(round_number: int, size: int, count: int) -> list[StateEntry]:
    """Return states of random bytes, newer in each round."""
    position = pack_position(1, round_number).to_bytes(8, "big")
    payload = random.Random(size).randbytes(size)
    return [StateEntry(b"%d" % number, position + payload) for number in range(count)]


class BareLoop:
    """The limit."""

    def __init__(self, session: Any, keyspace: str) -> None:
        self._session = session
        self._rows = session.prepare(
            f"INSERT INTO {keyspace}.history (member_id, event_time_ms, position, type, item_id, value) "
            "VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"
        )
        self._states = session.prepare(
            f"INSERT INTO {keyspace}.states_member (kind, key, position, value) "
            "VALUES ('bare', ?, ?, ?) USING TIMESTAMP ?"
        )

    def append(self, history: Iterable[HistoryRow]) -> None:
        """Write rows one by one."""
        self._run(
            self._rows,
            ((r.member_id, r.event_time_ms, r.position, r.type, r.item_id, r.value, r.position) for r in history),
        )

    def write(self, entries: Iterable[StateEntry]) -> None:
        """Write states one by one."""
        self._run(self._states, ((key, (at := position_of(value)), value, at) for key, value in entries))

    def _run(self, statement: Any, values: Iterable[tuple[Any, ...]]) -> None:
        under_way: deque[Any] = deque()
        for each in values:
            if len(under_way) == WINDOW:
                under_way.popleft().result()
            under_way.append(self._session.execute_async(statement, each, timeout=TIMEOUT_S))
        for future in under_way:
            future.result()


def best(work: Callable[[int], object], count: int) -> float:
    """Return how many of `count` things `work`, given the round's number, does in a second in its best round."""
    rates = []
    for number in range(ROUNDS):
        begun_s = time.perf_counter()
        work(number)
        rates.append(count / (time.perf_counter() - begun_s))
    return max(rates)


def line(what: str, bare: float | None, ours: float) -> None:
    """Print a line of the table."""
    beside = f"| {bare:,.0f} | {ours:,.0f} | {ours / bare:.1f} |" if bare else f"| | {ours:,.0f} | |"
    print(f"| {what} {beside}", flush=True)


def measure(store: CassandraDurableStore, bare: BareLoop) -> None:
    """Print a table of rates."""
    print("| a second | the limit | here | ratio |\n|---|---:|---:|---:|")
    for a_member in ROWS_A_MEMBER:
        _measure_rows(store, bare, a_member)
    for size, count in STATES:
        _measure_states(store, bare, size, count)
    profiles = [[Profile(f"m{n}", "de", "tv", 1, at * 60_000) for n in range(3_000)] for at in range(ROUNDS)]
    line("profiles", None, best(lambda number: store.put_profiles(profiles[number]), 3_000))
    line("member ids listed", None, best(lambda _: store.member_ids(3_000), 3_000))


def _measure_rows(store: CassandraDurableStore, bare: BareLoop, a_member: int) -> None:
    batches = [rows(number, a_member) for number in range(2 * ROUNDS)]
    limit = best(lambda number: bare.append(batches[number][::BARE_SHARE]), ROWS // BARE_SHARE)
    ours = best(lambda number: store.append_history(batches[ROUNDS + number]), ROWS)
    line(f"history rows, {a_member} a member", limit, ours)


def _measure_states(store: CassandraDurableStore, bare: BareLoop, size: int, count: int) -> None:
    sets = [states(number, size, count) for number in range(2 * ROUNDS)]
    kind, keys = f"member@{size}", [key for key, _ in sets[0]]
    limit = best(lambda number: bare.write(sets[number]), count)
    line(f"states of {size:,} bytes: write", limit, best(lambda number: store.write(kind, sets[number]), count))
    put = best(lambda number: store.put(kind, sets[ROUNDS + number]), count)
    line(f"states of {size:,} bytes: put", limit, put)
    line("get", None, best(lambda _: store.get(kind, keys), count))
    line("positions", None, best(lambda _: store.positions(kind, keys), count))
    line("scan", None, best(lambda _: deque(store.scan(kind), 0), count))


def main() -> None:
    """Measure and print."""
    url = sys.argv[1] if len(sys.argv) > 1 else "cassandra://127.0.0.1:9042"
    keyspace = f"bench_{uuid.uuid4().hex[:12]}"
    store = CassandraDurableStore(Settings(durable_url=f"{url.rstrip('/')}/{keyspace}", cassandra_timeout_s=TIMEOUT_S))
    nodes = parse_address(url).nodes
    try:
        store.positions("member", [b"m"])
        with Cluster(nodes, port=nodes[0][1], protocol_version=5) as cluster:
            session = cluster.connect()
            measure(store, BareLoop(session, keyspace))
            session.execute(f"DROP KEYSPACE {keyspace}", timeout=TIMEOUT_S)
    finally:
        store.close()


if __name__ == "__main__":
    main()
