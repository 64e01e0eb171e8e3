from __future__ import annotations

import numpy as np
import pytest

from training_bridge.ranker.content import release_age_years
from training_bridge.ranker.titles_meta import UNKNOWN_YEAR, TitlesMeta

NOW_MS = 1_767_225_600_000  # 2026-01-01


def meta(*years: int) -> TitlesMeta:
    return TitlesMeta((), np.zeros((len(years), 0), np.bool_), np.array(years, np.int32))


def test_a_title_without_a_year_is_as_old_as_the_others_not_new() -> None:
    ages = release_age_years(meta(2025, UNKNOWN_YEAR, 1950), NOW_MS)
    assert ages[0] < ages[1] < ages[2]
    assert np.log1p(ages[1]) == pytest.approx((np.log1p(ages[0]) + np.log1p(ages[2])) / 2, rel=1e-4)


def test_where_no_year_is_known_every_title_is_of_one_age() -> None:
    assert release_age_years(meta(UNKNOWN_YEAR, UNKNOWN_YEAR), NOW_MS).tolist() == [0.0, 0.0]


def test_a_title_of_next_year_is_no_younger_than_new() -> None:
    assert release_age_years(meta(2030), NOW_MS).tolist() == [0.0]
