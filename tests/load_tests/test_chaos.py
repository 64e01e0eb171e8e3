"""Processes killed with -9 at random moments of a replay: nothing lost, nothing counted twice, pages all the while."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from load_tests.chaos.data import KUAIRAND, chaos_dataset
from load_tests.chaos.grounds import embedded_ground, real_ground
from load_tests.chaos.run import run_chaos
from tests.engines import JARS, require_engines

FAULTS = 10
FAULTS_ON_REAL_ENGINES = 20


def test_generated_events_have_duplicates_where_the_real_ones_are_absent(tmp_path: Path) -> None:
    events = chaos_dataset(2_000, 1, tmp_path / "absent").events
    assert 1_800 < len({event.event_id for event in events}) < len(events) == 2_000


@pytest.mark.slow
def test_ten_faults_leave_exactly_what_a_clean_replay_gives(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    report = run_chaos(embedded_ground(tmp_path), FAULTS, seed)
    assert report.comparison.differences == [], f"seed {seed}"
    assert report.untrue == [], f"seed {seed}"
    assert not report.failed, f"seed {seed}"
    assert report.faults.total() == FAULTS
    assert report.comparison.duplicates > 0
    assert report.comparison.history_rows == report.comparison.distinct_events
    assert report.comparison.served_states > 0
    assert report.comparison.members_in_experiment > 0
    assert report.answers["fresh"] > 0
    assert KUAIRAND.is_dir() or report.comparison.records == FAULTS * 1_000


@pytest.mark.slow
def test_on_real_engines_any_faults_leave_exactly_what_a_clean_replay_gives(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 30)
    require_engines("kafka", "cassandra", "redis", "postgres")
    with real_ground(tmp_path, JARS) as ground:
        report = run_chaos(ground, FAULTS_ON_REAL_ENGINES, seed)
    assert report.comparison.differences == [], f"seed {seed}"
    assert report.untrue == [], f"seed {seed}"
    assert not report.failed, f"seed {seed}"
    assert not report.unanswered, f"seed {seed}"
    assert set(report.faults) == {fault.name for fault in ground.kinds}
    assert report.comparison.duplicates > 0
    assert report.comparison.history_rows == report.comparison.distinct_events
    assert report.comparison.members_in_experiment > 0
    assert report.answers["fresh"] > 0
