"""The memory of event ids: exact within its bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.features.hashes import id_hash
from streams.features.recent_events import RecentEvents

MEMORY = RecentEvents(bound=4)


@given(st.lists(st.integers(0, 12), max_size=60))
def test_an_id_is_known_while_it_is_among_the_last_new_ones(numbers: list[int]) -> None:
    state = MEMORY.initialize()
    remembered: list[int] = []
    for number in numbers:
        assert MEMORY.add(state, f"e{number}") is (number not in remembered)
        if number not in remembered:
            remembered = [*remembered, number][-MEMORY.bound :]

    assert MEMORY.result(state, 0) == [id_hash(f"e{number}") for number in remembered]


def test_hashes_that_begin_alike_are_told_apart() -> None:
    by_first_byte: dict[int, list[str]] = {}
    for number in range(2_000):
        by_first_byte.setdefault(id_hash(f"e{number}")[0], []).append(f"e{number}")
    alike = next(names for names in by_first_byte.values() if len(names) > 3)[:4]
    state = MEMORY.initialize()

    assert [MEMORY.add(state, name) for name in alike] == [True] * 4
    assert [MEMORY.add(state, name) for name in reversed(alike)] == [False] * 4


def test_hashes_are_the_same_in_every_process_and_version() -> None:
    assert id_hash("t1").hex() == "cbe920c372f7cf29"
