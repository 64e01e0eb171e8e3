"""Adjusted p-values are statsmodels'."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from serving.experiments.analysis.multiple import adjusted, alpha_each, benjamini_hochberg, holm


def test_agree_with_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for size in [1, 2, 2, *rng.integers(3, 30, 6)]:
        p_values = [float(p) for p in np.round(rng.beta(0.3, 1.0, size), 3)]  # rounded: some are 0, some the same
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], rel=1e-9)
        assert benjamini_hochberg(p_values) == pytest.approx(multipletests(p_values, method="fdr_bh")[1], rel=1e-9)


def test_a_test_without_data_stays_in_the_family() -> None:
    assert adjusted((0.01, None, 0.03), "holm") == pytest.approx((0.03, None, 0.06))
    assert adjusted((0.01, None, 0.03), "benjamini_hochberg") == pytest.approx((0.03, None, 0.045))
    assert adjusted((0.01, None), "none") == (0.01, None)
    assert adjusted((), "holm") == ()


def test_an_interval_at_each_ones_alpha_finds_nothing_that_holm_does_not() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        p_values = rng.uniform(0, 0.08, 3)
        for p, corrected in zip(p_values, holm(list(p_values)), strict=True):
            assert corrected <= 0.05 or p > alpha_each(0.05, 3)
