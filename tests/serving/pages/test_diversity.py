from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.pages.diversity import spread

genres = st.lists(st.lists(st.integers(0, 5), max_size=3, unique=True).map(tuple), max_size=40)


@given(genres, st.integers(0, 20), st.integers(1, 8))
def test_a_spread_is_the_best_that_the_cap_allows(numbers: list[tuple[int, ...]], size: int, cap: int) -> None:
    candidates = list(range(len(numbers)))
    chosen = spread(candidates, numbers, size, cap)
    assert len(chosen) == min(size, len(numbers))
    assert chosen == sorted(set(chosen))
    left_out = set(candidates) - set(chosen)
    for row in left_out:
        better = [number for one in chosen if one < row for number in numbers[one]]
        blocked = any(better.count(number) >= cap for number in numbers[row])
        assert blocked or all(one < row for one in chosen)


def test_a_cap_keeps_a_genre_from_filling_the_row() -> None:
    numbers = [(0,)] * 10 + [(1,)] * 10
    assert spread(list(range(20)), numbers, 6, 4) == [0, 1, 2, 3, 10, 11]


def test_who_was_passed_over_fills_what_is_left() -> None:
    assert spread([0, 1, 2, 3], [(0,)] * 4, 3, 1) == [0, 1, 2]
