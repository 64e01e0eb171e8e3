"""Quantiles from histograms: close to NumPy's and to Maritz and Jarrett's errors, safe at steps of whole numbers."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import scipy.stats

from serving.experiments.analysis.comparison import Comparison, Undefined, compare
from serving.experiments.analysis.confidence_sequence import sequential
from serving.experiments.analysis.quantile import MIN_BEYOND, Distribution, compare_quantiles
from serving.experiments.analysis.welch import welch
from tests.serving.experiments.analysis.members import members

WIDTH = 1.02
ZERO = -(10**6)


def edges(bucket: int) -> tuple[float, float]:
    """Buckets that are each 2 % wider than the one below, and one of zeros."""
    return (0.0, 0.0) if bucket == ZERO else (WIDTH**bucket, WIDTH ** (bucket + 1))


def histogram(numbers: Any) -> Counter[int]:
    return Counter(ZERO if number <= 0 else math.floor(math.log(number, WIDTH)) for number in numbers)


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99])
def test_quantiles_and_their_errors_agree_with_other_methods(quantile: float) -> None:
    rng = np.random.default_rng(1)
    numbers = rng.lognormal(3, 1, 20_000), rng.lognormal(3.2, 1, 10_000)
    found = compare_quantiles(histogram(numbers[0]), histogram(numbers[1]), quantile, edges)
    assert isinstance(found, Comparison)
    assert (found.n_control, found.n_treatment) == (20_000, 10_000)
    for ours, theirs in zip((found.control, found.treatment), numbers, strict=True):
        assert ours == pytest.approx(np.quantile(theirs, quantile), rel=WIDTH - 1)
    errors = [float(scipy.stats.mstats.mjci(theirs, [quantile])[0]) for theirs in numbers]
    assert found.standard_error == pytest.approx(math.hypot(*errors), rel=0.2)
    assert sequential(found, 0.05, 30_000).found


def test_a_histogram_of_single_values_gives_back_the_values() -> None:
    shown = Distribution.of({3: 10, 1: 10, 2: 0}, lambda bucket: (float(bucket), float(bucket)))
    assert [shown.at(share) for share in (-1.0, 0.0, 0.5, 0.51, 1.0, 2.0)] == [1.0, 1.0, 1.0, 3.0, 3.0, 3.0]


def test_merged_histograms_equal_the_whole() -> None:
    rng = np.random.default_rng(2)
    numbers = rng.gamma(2.0, 5.0, 900)
    parts = histogram(numbers[:200]) + histogram(numbers[200:])
    other = histogram(rng.gamma(2.0, 5.0, 900))
    assert compare_quantiles(parts, other, 0.9, edges) == compare_quantiles(histogram(numbers), other, 0.9, edges)


def test_too_few_members_beyond_the_quantile_is_undefined() -> None:
    rng = np.random.default_rng(3)
    few, many = histogram(rng.gamma(2.0, 5.0, 300)), histogram(rng.gamma(2.0, 5.0, 3_000))
    assert isinstance(compare_quantiles(few, many, 0.9, edges), Comparison)
    found = compare_quantiles(few, many, 0.99, edges)
    assert found == Undefined(300, 3_000, f"fewer than {MIN_BEYOND} members of an arm beyond the percentile")
    assert isinstance(compare_quantiles({}, many, 0.5, edges), Undefined)


def test_the_same_value_for_everybody_is_undefined_too() -> None:
    nobody_plays = histogram(np.zeros(500))
    found = compare_quantiles(nobody_plays, nobody_plays, 0.5, edges)
    assert found == Undefined(500, 500, "around the percentile all members have the same value")


def test_a_step_between_whole_numbers_is_no_effect() -> None:
    """The 90th percentile of Poisson(4) is next to a step, and chance takes it in the smaller arm."""
    rng = np.random.default_rng(4)
    found = 0
    for _ in range(100):
        arms = [histogram(rng.poisson(4.0, n)) for n in (9_000, 1_000)]
        found += welch(compare_quantiles(arms[0], arms[1], 0.9, edges), 0.05).found
    assert found <= 8


def test_a_mean_that_outliers_hide_is_plain_in_the_median() -> None:
    rng = np.random.default_rng(5)
    numbers = [rng.pareto(1.1, 3_000) * lift for lift in (1.0, 1.3)]
    means = compare(*(members(np.minimum(each, 1e6)).moments for each in numbers))
    medians = compare_quantiles(histogram(numbers[0]), histogram(numbers[1]), 0.5, edges)
    assert not sequential(means, 0.05, 6_000).found
    assert sequential(medians, 0.05, 6_000).found
