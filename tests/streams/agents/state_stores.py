"""State stores in memory, whose calls fail when told to, for tests of agents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streams.agents.dead_letters import Rejected
from streams.errors import MarqueeError
from streams.event_log.epochs import first_epoch
from streams.event_log.protocol import Epochs, Message, Record, TopicPartition
from streams.positions import NOTHING
from streams.stores.entries import check_entries, is_newer
from streams.stores.protocol import POSITION_BYTES, HistoryRow, Profile, StateEntry, position_of, version_of


class Killed(Exception):  # noqa: N818 - what kill -9 does, not an error of ours
    """The process is gone; whoever holds the agent drops it."""


class Gate:
    """Counts the steps of all stores of a test, two for each call (before and after), and fails at the ones told."""

    def __init__(self) -> None:
        self.failures: dict[int, Exception] = {}
        self.steps = 0

    def pass_through(self) -> None:
        self.steps += 1
        failure = self.failures.pop(self.steps, None)
        if failure is not None:
            raise failure


class MemoryStore:
    """A DurableStore in dicts."""

    def __init__(self, gate: Gate | None = None) -> None:
        self.gate = gate or Gate()
        self.states: dict[str, dict[bytes, bytes]] = {}
        self.rows: dict[tuple[str, int], HistoryRow] = {}
        self.profiles: dict[str, Profile] = {}
        self.away: MarqueeError | None = None
        self.puts: list[tuple[str, int]] = []

    def get(self, kind: str, keys: Sequence[bytes]) -> list[bytes | None]:
        self._check()
        found = [self.states.get(kind, {}).get(key) for key in keys]
        return [value if value is not None and len(value) > POSITION_BYTES else None for value in found]

    def positions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        self._check()
        return [self._position(kind, key) for key in keys]

    def versions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        self._check()
        return [version_of(self.states.get(kind, {}).get(key)) for key in keys]

    def put(self, kind: str, entries: Sequence[StateEntry]) -> list[bool]:
        self._check()
        check_entries(entries)
        self.gate.pass_through()
        self.puts.append((kind, len(entries)))
        written = [self._put(kind, entry) for entry in entries]
        self.gate.pass_through()
        return written

    def write(self, kind: str, entries: Sequence[StateEntry]) -> None:
        self.put(kind, entries)

    def _put(self, kind: str, entry: StateEntry) -> bool:
        stored = self.states.setdefault(kind, {}).get(entry.key, bytes(POSITION_BYTES))
        sizes = len(entry.value) == POSITION_BYTES, len(stored) > POSITION_BYTES
        newer = is_newer(position_of(entry.value), sizes[0], position_of(stored), sizes[1])
        if newer:
            self.states[kind][entry.key] = entry.value
        return newer

    def _position(self, kind: str, key: bytes) -> int:
        value = self.states.get(kind, {}).get(key)
        return NOTHING if value is None else position_of(value)

    def scan(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        self._check()
        yield from (pair for pair in sorted(self.states.get(kind, {}).items()) if len(pair[1]) > POSITION_BYTES)

    def drop(self, kind: str, limit: int) -> int:
        self._check()
        states = self.states.get(kind, {})
        keys = sorted(states)[:limit]
        for key in keys:
            del states[key]
        return len(keys)

    def append_history(self, rows: Sequence[HistoryRow]) -> None:
        self._check()
        self.gate.pass_through()
        for row in rows:
            self.rows.setdefault((row.member_id, row.position), row)
        self.gate.pass_through()

    def history(self, member_id: str, limit: int) -> list[HistoryRow]:
        self._check()
        rows = [row for row in self.rows.values() if row.member_id == member_id]
        return sorted(rows, key=lambda row: (row.event_time_ms, row.position), reverse=True)[:limit]

    def put_profiles(self, profiles: Sequence[Profile]) -> None:
        self._check()
        self.gate.pass_through()
        self.profiles.update({profile.member_id: profile for profile in profiles})
        self.gate.pass_through()

    def profile(self, member_id: str) -> Profile | None:
        return self.profiles.get(member_id)

    def member_ids(self, limit: int) -> list[str]:
        return sorted(self.profiles)[:limit]

    def forget(self, member_id: str) -> int:
        gone = [key for key in self.rows if key[0] == member_id]
        for key in gone:
            del self.rows[key]
        return len(gone)

    def close(self) -> None:
        """Nothing to release."""

    def _check(self) -> None:
        if self.away is not None:
            raise self.away


class OneEpoch:
    """A log, as agents see it, of topics that have not grown."""

    def __init__(self, epoch: int, partitions: int = 1) -> None:
        self._epochs = first_epoch(epoch, partitions)

    def topic_id(self, topic: str) -> str:
        return f"made-in-{self._epochs[0].epoch}"

    def raise_epoch(self, topic: str, above: int) -> None:
        raise AssertionError("this log is never lost")

    def epochs(self, topic: str) -> Epochs:
        return self._epochs

    def read(self, topic: str, partition: int, offset: int, max_records: int) -> list[Record]:
        return []

    def committed(self, group: str, partition: TopicPartition) -> int | None:
        return None

    def append(self, topic: str, messages: Sequence[Message]) -> None:
        raise AssertionError("nothing is misplaced in a topic of one partition")


class Letters:
    """Dead letters in a list, each record once."""

    def __init__(self) -> None:
        self.put: dict[tuple[str, int, int, int], Rejected] = {}
        self.away: MarqueeError | None = None

    def put_all(self, batch_topic: str, partition: int, rejected: Sequence[Rejected], epoch: int) -> None:
        if self.away is not None:
            raise self.away
        for one in rejected:
            self.put[batch_topic, partition, epoch, one.record.offset] = one

    @property
    def reasons(self) -> list[str]:
        return [one.reason for one in self.put.values()]
