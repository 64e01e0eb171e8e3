from __future__ import annotations

import pytest

from streams.errors import FixRequest
from streams.importers.pace import Pace, parse_speed


def test_a_rate_spaces_events_evenly() -> None:
    assert [Pace(rate=4).due_s(index, 0) for index in range(3)] == [0.0, 0.25, 0.5]


def test_a_speed_is_a_multiple_of_event_time() -> None:
    assert Pace(speed=1000).due_s(5, 3_600_000) == 3.6


@pytest.mark.parametrize(("text", "speed"), [("1000x", 1000.0), ("0.5x", 0.5), ("60", 60.0)])
def test_speeds_are_written_with_or_without_an_x(text: str, speed: float) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["fast", "-1x", "x", "1e400x"])
def test_other_speeds_are_refused(text: str) -> None:
    with pytest.raises(FixRequest):
        parse_speed(text)


@pytest.mark.parametrize(("rate", "speed"), [(0.0, None), (None, float("nan")), (float("inf"), None), (1.0, 1.0)])
def test_a_pace_is_one_number_above_zero(rate: float | None, speed: float | None) -> None:
    with pytest.raises(FixRequest):
        Pace(rate, speed)
