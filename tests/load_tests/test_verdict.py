from __future__ import annotations

import json
from pathlib import Path

import pytest

from load_tests.__main__ import SLO_FILE
from load_tests.open_loop import Measured
from load_tests.report import Result, as_json, as_table, plot, verdicts
from load_tests.scenarios import SCENARIOS, Load
from load_tests.verdict import Slo, read_slos, violations
from streams.errors import FixRequest

SLO = Slo("hits", Load(100, 1), {50.0: 5.0, 99.0: 20.0}, 0.01)


def measured(latencies_ms: list[float], failed: int = 0, unsent: int = 0) -> Measured:
    result = Measured(failed=failed, unsent=unsent)
    for latency in latencies_ms:
        result.histogram.record_value(int(latency * 1000))
        result.outcomes["fresh"] += 1
    return result


def test_a_run_within_its_levels_violates_nothing() -> None:
    assert violations(SLO, measured([1.0] * 99 + [19.0])) == []


def test_each_percentile_that_is_over_its_level_is_named() -> None:
    missed = violations(SLO, measured([6.0] * 90 + [50.0] * 10))
    assert [sentence.split()[0] for sentence in missed] == ["p50", "p99"]


def test_failures_and_unsent_requests_count_against_the_level() -> None:
    assert violations(SLO, measured([1.0] * 100, failed=1)) == []
    assert "failed or were never sent" in violations(SLO, measured([1.0] * 100, failed=2))[0]
    assert "failed or were never sent" in violations(SLO, measured([1.0] * 100, unsent=5))[0]


def test_a_run_without_answers_meets_nothing() -> None:
    assert violations(SLO, measured([])) == ["nothing was answered"]


def test_the_levels_that_ship_cover_every_scenario() -> None:
    assert {slo.scenario for slo in read_slos(SLO_FILE)} == set(SCENARIOS)


@pytest.mark.parametrize(
    ("text", "field"), [("[nonsense]\nrate = 1", "nonsense"), ("[hits]\nseconds = 1\nfailed = 0", "hits")]
)
def test_a_wrong_level_names_its_table(tmp_path: Path, text: str, field: str) -> None:
    path = tmp_path / "slo.toml"
    path.write_text(text)
    with pytest.raises(FixRequest, match=field):
        read_slos(path)


def test_results_are_given_as_table_json_and_picture(tmp_path: Path) -> None:
    results = [Result(SLO, measured([1.0, 2.0, 30.0]))]
    assert as_table(results).row_count == 1
    assert verdicts(results)[0].startswith("hits: [red]p99 is 30")
    stored = json.loads(as_json(results))["hits"]
    assert stored["answered"] == 3
    assert stored["latency_ms"]["p50"] == pytest.approx(2.0, rel=0.01)
    assert stored["violations"]
    plot(results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
