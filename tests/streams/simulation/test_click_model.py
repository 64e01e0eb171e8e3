from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.simulation.click_model import ClickModel, Place

MODEL = ClickModel()


def click_rates(rows: int, width: int, attractions: float, pages: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    clicks = np.zeros((rows, width))
    for _ in range(pages):
        for look in MODEL.look([[attractions] * width] * rows, rng):
            clicks[look.place.row, look.place.position] += look.clicked
    return clicks / pages


def test_clicks_per_place_are_examination_times_attraction() -> None:
    rates = click_rates(rows=4, width=5, attractions=0.6, pages=6_000)
    expected = [[0.6 * MODEL.examination(Place(row, position)) for position in range(5)] for row in range(4)]
    assert np.abs(rates - expected).max() < 4 * np.sqrt(0.25 / 6_000)


def test_the_position_bias_can_be_recovered_from_clicks() -> None:
    rates = click_rates(rows=1, width=8, attractions=0.9, pages=8_000)[0]
    slope = np.polyfit(np.log1p(np.arange(8)), np.log(rates), 1)[0]
    assert slope == pytest.approx(-MODEL.position_power, abs=0.08)


def test_rows_lose_a_fixed_share_of_the_members() -> None:
    rates = click_rates(rows=6, width=1, attractions=1.0, pages=8_000)[:, 0]
    assert rates[1:] / rates[:-1] == pytest.approx([MODEL.continue_rows] * 5, abs=0.06)
    assert rates[0] == 1.0


def test_what_is_not_looked_at_is_not_clicked() -> None:
    looks = MODEL.look([[1.0] * 10] * 10, np.random.default_rng(1))
    assert all(look.examined or not look.clicked for look in looks)
    assert any(not look.examined for look in looks)


def test_patience_goes_further_down() -> None:
    place = Place(5, 0)
    assert MODEL.examination(place, patience=2.0) > MODEL.examination(place) > MODEL.examination(place, patience=0.5)


@settings(max_examples=50)
@given(st.lists(st.lists(st.floats(0, 1), max_size=5), max_size=5), st.integers(0, 2**32 - 1))
def test_any_page_gives_one_look_a_title_and_the_same_for_the_same_seed(page: list[list[float]], seed: int) -> None:
    looks = MODEL.look(page, np.random.default_rng(seed))
    assert [look.place for look in looks] == [Place(r, p) for r, row in enumerate(page) for p in range(len(row))]
    assert looks == MODEL.look(page, np.random.default_rng(seed))
