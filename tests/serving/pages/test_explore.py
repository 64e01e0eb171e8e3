from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.pages.builder import build_page
from serving.pages.explore import draw, uniform
from tests.serving.pages.world import comedy_fan, world

SEEDS = 4000
SEQUENCE = [525, 170, 813, 896, 378, 84]


@given(st.integers(0, 200), st.integers(0, 30), st.integers(0, 2**64 - 1))
def test_a_draw_takes_each_title_once_and_knows_its_chance(size: int, positions: int, seed: int) -> None:
    pool = np.arange(size)[::-1].copy()
    drawn = draw(pool, pool.astype(np.float32), positions, seed)
    assert len(drawn) == min(size, positions)
    assert len({one.row for one in drawn}) == len(drawn)
    assert [one.row for one in drawn] == sorted((one.row for one in drawn), reverse=True)
    assert all(one.propensity == 1 / round(1 / one.propensity) for one in drawn)
    if drawn:
        assert sum(round(1 / one.propensity) for one in drawn) == size
        assert sum(one.mean_worth / one.propensity for one in drawn) == pytest.approx(pool.sum(), rel=1e-6)


def test_titles_come_up_as_often_as_their_propensity_says() -> None:
    pool, positions = np.arange(37), 5
    counts: list[Counter[int]] = [Counter() for _ in range(positions)]
    chances: dict[tuple[int, int], float] = {}
    for seed in range(SEEDS):
        for place, one in enumerate(draw(pool, np.zeros(37, np.float32), positions, seed)):
            counts[place][one.row] += 1
            chances[place, one.row] = one.propensity
    assert len(chances) == 37
    statistic = sum((counts[place][row] - SEEDS * p) ** 2 / (SEEDS * p) for (place, row), p in chances.items())
    assert statistic < 62  # chi-square with 37 - 5 degrees of freedom: 0.1 % are higher


def test_propensities_of_whole_pages_hold() -> None:
    place = world(120)
    inputs = [place.inputs(comedy_fan(place.catalogue), seed=seed) for seed in range(600)]
    shown: Counter[tuple[int, str]] = Counter()
    chances: dict[tuple[int, str], float] = {}
    for one in inputs:
        explored = next(row for row in build_page(one).rows if row.kind == "explore")
        for position, item in enumerate(explored.items):
            shown[position, item.item_id] += 1
            chances[position, item.item_id] = item.propensity
    for key, chance in chances.items():
        spread = (600 * chance * (1 - chance)) ** 0.5
        assert abs(shown[key] - 600 * chance) <= 5 * spread
    for position in {position for position, _ in shown}:
        total = sum(chance for (at, _), chance in chances.items() if at == position)
        assert abs(total - 1) < 1e-9  # every title of the stratum came up


def test_draws_at_different_places_are_independent() -> None:
    pairs = Counter((uniform(seed, 0, 4), uniform(seed, 1, 4)) for seed in range(SEEDS))
    assert len(pairs) == 16
    assert sum((count - SEEDS / 16) ** 2 / (SEEDS / 16) for count in pairs.values()) < 38


def test_a_seed_draws_the_same_on_every_machine() -> None:
    assert [uniform(12345, counter, 1000) for counter in range(6)] == SEQUENCE
