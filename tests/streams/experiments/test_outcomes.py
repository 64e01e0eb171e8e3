"""A member's numbers in an experiment, out of history and first exposure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.experiments.metric import Measure, Metric
from streams.experiments.moments import SCALE
from streams.experiments.outcomes import LARGEST, FirstExposure, Numbers, numbers_of, outcome_of
from streams.stores.protocol import HistoryRow
from tests.streams.experiments.world import DAY_MS, PLAY, START_MS, an_experiment

HOUR_MS = 3_600_000
FIRST_MS = START_MS + DAY_MS


def row(after_ms: int, kind: str = "play", value: float | None = None, page_ms: int | None = None) -> HistoryRow:
    page_id = None if page_ms is None else f"{page_ms:012x}{0:020x}"
    return HistoryRow("m", after_ms + 10 * DAY_MS, FIRST_MS + after_ms, kind, "t", value, page_id)


ROWS = [
    row(-8 * DAY_MS),
    row(-DAY_MS),
    row(-DAY_MS, "complete"),
    row(-1, "rate", 3.5),
    row(0),
    row(1, "complete"),
    row(HOUR_MS - 1, "rate", 4.5),
    row(HOUR_MS, page_ms=FIRST_MS - 1),
    row(2 * DAY_MS, page_ms=FIRST_MS),
]


@pytest.mark.parametrize(
    ("metric", "numbers"),
    [
        (Metric("m", "count", PLAY), (3, 1, 1, 1)),
        (Metric("m", "count", PLAY, cap=2.0), (2, 1, 1, 1)),
        (Metric("m", "count", PLAY, window_s=3_600), (1, 1, 1, 1)),
        (Metric("m", "count", PLAY, after_s=3_600), (2, 1, 1, 1)),
        (Metric("m", "sum", Measure(("rate",), of="value")), (4.5, 1, 3.5, 1)),
        (Metric("m", "sum", Measure(("rate",), of="value", min_value=4.0)), (4.5, 1, 0, 1)),
        (Metric("m", "count", Measure(("rate",), min_value=4.0)), (1, 1, 0, 1)),
        (Metric("m", "ratio", Measure(("complete",)), per=PLAY), (1, 3, 1, 1)),
        (Metric("m", "conversion", PLAY, window_s=3_600), (1, 1, 1, 1)),
        (Metric("m", "conversion", Measure(("like",))), (0, 1, 0, 1)),
        (Metric("m", "retention", PLAY, after_s=86_400), (1, 1, 1, 1)),
        (Metric("m", "retention", PLAY, after_s=3 * 86_400), (0, 1, 1, 1)),
        (Metric("m", "percentile", PLAY, quantile=0.5), (3, 1, 1, 1)),
        (Metric("m", "count", PLAY, attribution="page"), (1, 1, 1, 1)),
    ],
)
def test_each_kind_of_metric_counts_what_it_says(metric: Metric, numbers: tuple[float, ...]) -> None:
    assert numbers_of(metric, FIRST_MS, None, 7 * DAY_MS, ROWS) == tuple(round(each * SCALE) for each in numbers)


def test_events_after_the_stop_do_not_count() -> None:
    assert numbers_of(Metric("m", "count", PLAY), FIRST_MS, FIRST_MS + HOUR_MS, 0, ROWS)[0] == SCALE


def test_without_a_pre_period_there_is_no_covariate() -> None:
    assert numbers_of(Metric("m", "ratio", PLAY, per=PLAY), FIRST_MS, None, 0, ROWS)[2:] == (0, 0)


def test_a_number_that_is_no_measurement_is_cut_to_what_can_be_kept() -> None:
    metric = Metric("m", "sum", Measure(("rate",), of="value"))
    assert numbers_of(metric, FIRST_MS, None, 0, [row(1, "rate", 1e300)])[0] == LARGEST


histories = st.lists(
    st.builds(
        row,
        st.integers(-9 * DAY_MS, 9 * DAY_MS),
        st.sampled_from(["play", "complete", "rate", "view"]),
        st.none() | st.floats(0, 1e6),
        st.none() | st.integers(FIRST_MS - DAY_MS, FIRST_MS + DAY_MS),
    ),
    max_size=30,
)


@given(histories, st.randoms())
def test_the_order_of_rows_does_not_matter(history: list[HistoryRow], rng: object) -> None:
    definition = an_experiment().definition
    first = FirstExposure(FIRST_MS, 1, "control")
    shuffled = history.copy()
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert outcome_of(definition, first, None, shuffled) == outcome_of(definition, first, None, history)


@given(histories)
def test_history_from_before_the_pre_period_changes_nothing(history: list[HistoryRow]) -> None:
    definition = an_experiment().definition
    first = FirstExposure(FIRST_MS, 1, "control")
    recent = [each for each in history if each.event_time_ms >= FIRST_MS - 7 * DAY_MS]
    found: dict[str, Numbers] = outcome_of(definition, first, None, history)
    assert outcome_of(definition, first, None, recent) == found


def test_what_apps_make_up_is_one_segment() -> None:
    first = FirstExposure(0, 0, "control", country="u", device="x" * 32)
    assert first.segments(["country", "device", "unheard-of"]) == ["country=other", "device=other"]
    assert FirstExposure(0, 0, "control").segments(["country", "device"]) == ["country=unknown", "device=unknown"]
