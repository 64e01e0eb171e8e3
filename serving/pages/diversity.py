"""Diversity: the best titles, but not too many of one kind."""

from __future__ import annotations

from collections.abc import Sequence


def spread(candidates: Sequence[int], genres: Sequence[tuple[int, ...]], size: int, cap: int) -> list[int]:
    """Return up to `size` of the candidates (rows, the best first), at most `cap` of any genre while others are left.

    Greedy, as in maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998) with a penalty that is nothing below
    the cap and everything at it. Who was passed over fills what places remain, the best first; the order is by quality.
    """
    counts: dict[int, int] = {}
    full: set[int] = set()
    chosen: list[int] = []
    passed: list[int] = []
    for place, row in enumerate(candidates):
        if len(chosen) == size:
            break
        numbers = genres[row]
        if full and not full.isdisjoint(numbers):
            passed.append(place)
            continue
        chosen.append(place)
        for number in numbers:
            counts[number] = count = counts.get(number, 0) + 1
            if count >= cap:
                full.add(number)
    chosen += passed[: size - len(chosen)]
    return [candidates[place] for place in sorted(chosen)]
