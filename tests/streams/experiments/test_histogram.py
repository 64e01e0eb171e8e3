"""Buckets of histograms know a number to one part in a hundred."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.experiments.histogram import RELATIVE, bucket_of, middle, upper_edge
from streams.experiments.moments import SCALE
from streams.experiments.outcomes import LARGEST

ROUNDING = 1 + 1e-9


@given(st.integers(-LARGEST, LARGEST))
def test_a_bucket_stands_for_its_numbers(number: int) -> None:
    assert abs(middle(bucket_of(number)) - number / SCALE) <= RELATIVE * abs(number) / SCALE * ROUNDING


@given(st.integers(-LARGEST, LARGEST))
def test_a_number_is_within_the_edges_of_its_bucket(number: int) -> None:
    bucket, slack = bucket_of(number), abs(number) / SCALE * 1e-9
    assert upper_edge(bucket - 1) - slack <= number / SCALE <= upper_edge(bucket) + slack


@given(st.integers(-LARGEST, LARGEST), st.integers(-LARGEST, LARGEST))
def test_larger_numbers_are_in_no_lower_buckets(one: int, other: int) -> None:
    assert (bucket_of(one) <= bucket_of(other)) or one > other
