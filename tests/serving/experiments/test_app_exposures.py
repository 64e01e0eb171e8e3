"""What apps may say of exposures."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from serving.experiments.allocation import Allocation
from serving.experiments.app_exposures import MAX_AHEAD_MS, MAX_LATE_MS, AppExposure, evaluated_exposure, exposure_of
from serving.experiments.live import LiveView
from streams.errors import FixRequest
from streams.experiments.definition import Experiment, Patch
from streams.impressions import Exposure
from tests.serving.experiments.definitions import running

NOW_MS = 10 * MAX_LATE_MS
STOPPED_MS = NOW_MS - 3_600_000


def viewed(*experiments: Experiment) -> LiveView:
    return LiveView({each.definition.id: each for each in experiments}, Allocation(experiments, Patch()))


VIEW = viewed(
    running("exp", forced={"tess": "v1"}),
    running("new", started_at_ms=NOW_MS - 5),
    msgspec.structs.replace(running("over"), status="decided", stopped_at_ms=STOPPED_MS),
    msgspec.structs.replace(running("draft"), status="draft", started_at_ms=None),
)


def said(**fields: Any) -> AppExposure:
    return AppExposure(**({"experiment": "exp", "variant": "v1", "member_id": "42"} | fields))


def test_an_exposure_is_logged_as_the_app_says_it() -> None:
    exposure = exposure_of(said(page_id="p1", country="nl", device="TV", exposed_at_ms=NOW_MS - 7), VIEW, NOW_MS)
    assert exposure == Exposure(
        "exp", "v1", "42", "p1", NOW_MS - 7, first=True, country="NL", device="tv", source="app"
    )
    assert exposure_of(said(), VIEW, NOW_MS).exposed_at_ms == NOW_MS


def test_a_clock_that_is_ahead_says_now() -> None:
    assert exposure_of(said(exposed_at_ms=NOW_MS + 1_000), VIEW, NOW_MS).exposed_at_ms == NOW_MS


def test_what_was_before_the_stop_can_be_told_after_it() -> None:
    exposure = exposure_of(said(experiment="over", exposed_at_ms=STOPPED_MS - 1), VIEW, NOW_MS)
    assert (exposure.experiment, exposure.exposed_at_ms) == ("over", STOPPED_MS - 1)


def test_of_an_experiment_that_takes_no_members_there_are_no_exposures() -> None:
    view = LiveView({"exp": running("exp")}, Allocation([], Patch()))
    with pytest.raises(FixRequest, match="experiment"):
        exposure_of(said(), view, NOW_MS)


def test_of_an_experiment_that_is_not_followed_it_is_said_how_long_exposures_count() -> None:
    with pytest.raises(FixRequest, match="no experiment 'gone' that runs, or was stopped and is not archived yet"):
        exposure_of(said(experiment="gone"), VIEW, NOW_MS)


def test_a_testers_is_marked() -> None:
    assert exposure_of(said(member_id="tess"), VIEW, NOW_MS).forced


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"experiment": "other"}, "experiment"),
        ({"variant": "v9"}, "variant"),
        ({"member_id": ""}, "member_id"),
        ({"member_id": "a\nb"}, "member_id"),
        ({"page_id": "x" * 65}, "page_id"),
        ({"page_id": "a\x00"}, "page_id"),
        ({"exposed_at_ms": NOW_MS - MAX_LATE_MS - 1}, "exposed_at_ms"),
        ({"exposed_at_ms": NOW_MS + MAX_AHEAD_MS + 1}, "exposed_at_ms"),
        ({"experiment": "new", "exposed_at_ms": NOW_MS - 6}, "exposed_at_ms"),
        ({"experiment": "draft"}, "experiment"),
        ({"experiment": "over"}, "exposed_at_ms"),
        ({"experiment": "over", "exposed_at_ms": STOPPED_MS}, "exposed_at_ms"),
        ({"country": "Holland"}, "country"),
        ({"device": "a tv"}, "device"),
    ],
)
def test_what_cannot_have_been_is_refused_by_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(FixRequest) as caught:
        exposure_of(said(**fields), VIEW, NOW_MS)
    assert caught.value.field == field


def test_an_evaluations_odd_country_or_device_is_left_out() -> None:
    exposure = evaluated_exposure("exp", "v1", "42", {"country": "Holland", "device": "x" * 99}, 5, forced=False)
    assert (exposure.country, exposure.device, exposure.source) == ("", "", "app")
