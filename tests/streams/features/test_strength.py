"""Strengths of events."""

from __future__ import annotations

import pytest

from streams.events import EVENT_TYPES
from streams.features.strength import POSITIVE_TYPES, is_positive, strength


@pytest.mark.parametrize(
    ("stars", "expected"), [(5.0, 2.0), (2.5, 0.0), (3.75, 1.0), (0.5, -1.0), (1e9, 2.0), (-1e9, -1.0), (None, 0.0)]
)
def test_a_rating_speaks_by_its_distance_from_the_middle(stars: float | None, expected: float) -> None:
    assert strength("rate", stars) == expected


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@pytest.mark.parametrize("value", [None, 0.5, 2.5, 5.0])
def test_positive_is_a_strength_above_zero(event_type: str, value: float | None) -> None:
    assert is_positive(event_type, value) == (strength(event_type, value) > 0)
    assert event_type in POSITIVE_TYPES or not is_positive(event_type, value)
