"""States are loaded whole, whatever another owner writes between the reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from streams.agents.state_stores import StateStores
from streams.events import Event
from streams.features.member import MEMBER
from streams.features.replay import PartitionStates
from streams.positions import NOTHING, pack_position
from streams.stores.protocol import StateEntry
from tests.streams.agents.state_stores import MemoryStore

KEY = b"u1"
POSITION = pack_position(1, 7)
EVENT = Event("e1", "play", "u1", 1_700_000_000_000, "t1")


def _state() -> bytes:
    states = PartitionStates()
    states.fold_event(EVENT, ("Drama",), POSITION)
    return MEMBER.pack(states.members["u1"])


class Watched(MemoryStore):
    """A store that tells of every read once it is done."""

    def __init__(self, after_read: Callable[[], None]) -> None:
        super().__init__()
        self._after_read = after_read

    def get(self, kind: str, keys: Sequence[bytes]) -> list[bytes | None]:
        found = super().get(kind, keys)
        self._after_read()
        return found

    def positions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        found = super().positions(kind, keys)
        self._after_read()
        return found

    def versions(self, kind: str, keys: Sequence[bytes]) -> list[int]:
        found = super().versions(kind, keys)
        self._after_read()
        return found


@pytest.mark.parametrize("in_hot", ["before", "then", "never"])
@pytest.mark.parametrize("in_durable", ["before", "then", "never"])
@pytest.mark.parametrize("as_durable", [False, True])
@pytest.mark.parametrize("reads_before", range(1, 6))
def test_a_state_that_is_written_between_the_reads_is_absent_or_whole(
    in_hot: str, in_durable: str, as_durable: bool, reads_before: int
) -> None:
    reads = 0

    def after_read() -> None:
        nonlocal reads
        reads += 1
        if reads == reads_before:
            write("then")

    def write(moment: str) -> None:
        for store, written in ((hot, in_hot), (durable, in_durable)):
            if written == moment:
                store.put(MEMBER.name, [StateEntry(KEY, _state())])

    hot, durable = Watched(after_read), Watched(after_read)
    write("before")
    state = StateStores(hot, durable).load(MEMBER, [KEY], as_durable=as_durable)[0]
    whole = _state()
    assert state.position == NOTHING or MEMBER.pack(state) == whole
    if in_durable == "before" or (in_hot == "before" and not as_durable):
        assert MEMBER.pack(state) == whole
