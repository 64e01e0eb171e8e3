"""Results are worked out once for all who ask within a moment, and anew for another revision or later."""

from __future__ import annotations

import sqlalchemy as sa
from msgspec.structs import replace

from serving.experiments.recent_standings import RecentStandings
from serving.experiments.standing import Standings
from streams.experiments.aggregates import Aggregate
from streams.experiments.definition import Experiment
from tests.serving.experiments.reports import START_MS, definition_of


def test_who_asks_again_within_a_moment_gets_the_same_and_later_another(sql_engine: sa.Engine) -> None:
    read: list[str] = []
    times_s = [0.0]

    def aggregates(_engine: sa.Engine, name: str, _with_segments: bool) -> tuple[list[Aggregate], None]:
        read.append(name)
        times_s[0] += 2.0
        return [], None

    recent = RecentStandings(Standings(sql_engine, aggregates), lambda: times_s[0])
    experiment = Experiment(definition_of(), "running", 2, started_at_ms=START_MS)
    first = recent.stand(experiment, START_MS)
    times_s[0] += 17.9
    assert recent.stand(experiment, START_MS + 1) is first
    assert recent.stand(replace(experiment, revision=3), START_MS + 2) is not first
    times_s[0] += 18.1
    recent.stand(replace(experiment, revision=3), START_MS + 3)
    assert read == ["rows"] * 3
