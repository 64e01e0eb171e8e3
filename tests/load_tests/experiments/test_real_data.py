"""CUPED and the ASOS experiments: on small data whose answers are known."""

from io import StringIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from load_tests.experiments import asos_report
from load_tests.experiments.asos import Series, decide, generated, read_asos
from load_tests.experiments.asos_report import METHODS, summary
from load_tests.experiments.cuped import reduce
from load_tests.experiments.real import split
from streams.events import Event
from streams.importers.dataset import Dataset


def test_cuped_takes_away_the_square_of_the_correlation() -> None:
    rng = np.random.default_rng(5)
    before = rng.normal(5.0, 1.0, 4_000)
    since = 0.8 * before + 0.6 * rng.normal(size=4_000)
    one = np.ones(4_000)
    found = reduce("made", "number", (since, one, before, one), rng, allocations=3)
    assert found is not None
    assert found.correlation == pytest.approx(0.8, abs=0.02)
    assert found.variance == pytest.approx(found.correlation**2, abs=0.02)
    assert found.lowest <= found.variance <= found.highest


def test_members_are_split_at_the_moment_when_half_is_past_and_repeated_events_count_once() -> None:
    times = (10, 20, 30, 40)
    events = [Event(f"e{time}", "play", f"m{time % 20}", time, "t", value=float(time)) for time in times]
    found = split(Dataset("made", "", [], [*events, events[0]]), "made")
    assert found.members == 2
    before, since = found.numbers["watched s"]
    assert before.tolist() == [20.0, 10.0]
    assert since.tolist() == [40.0, 30.0]


def rows(effect: float, variance: float | None = 1.0) -> list[dict[str, object]]:
    days = range(1, 21)
    return [
        {"experiment_id": "a", "variant_id": 1, "metric_id": 1, "time_since_start": float(day)}
        | {"count_c": 1_000.0 * day, "count_t": 1_000.0 * day, "mean_c": 1.0, "mean_t": 1.0 + effect}
        | {"variance_c": variance, "variance_t": variance}
        for day in days
    ]


def series_of(tmp_path: Path, *args: float) -> list[Series]:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([*reversed(rows(*args))]), file)
    return read_asos(file)


def test_a_clear_effect_is_found_early_and_none_where_there_is_none(tmp_path: Path) -> None:
    (clear,) = series_of(tmp_path, 0.2)
    found = decide(clear, 0.05)
    assert found.sequential is not None
    assert found.sequential[0] <= 0.2
    assert found.sequential[1] == 1
    assert found.group_sequential == (0.2, 1)
    assert found.at_end == (1.0, 1)
    (none,) = series_of(tmp_path, 0.0)
    assert [getattr(decide(none, 0.05), name) for name in METHODS.values()] == [None] * len(METHODS)


def test_a_row_that_jumps_and_comes_back_is_no_finding_at_two_looks_in_a_row(tmp_path: Path) -> None:
    jumping = rows(0.0)
    jumping[9]["mean_t"] = 1.3
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(jumping), file)
    found = decide(read_asos(file)[0], 0.05)
    assert found.sequential == (0.5, 1)
    assert found.twice is None


def test_rows_without_a_variance_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([*rows(0.1, float("nan"))]), file)
    assert read_asos(file) == []


def test_the_summary_counts_where_a_method_and_the_end_agree() -> None:
    decided = [decide(series, 0.05) for series in generated(3, experiments=12, days=10)]
    for method, name in METHODS.items():
        found = summary(decided, method, name)
        assert found.also + found.opposite + found.alone == found.decided
        assert found.also + found.opposite + found.missed == sum(each.at_end is not None for each in decided)
    assert summary(decided, "end", "at_end").missed == 0


def test_where_the_data_is_absent_it_is_said_and_experiments_are_generated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asos_report, "ASOS", tmp_path / "absent")
    monkeypatch.setattr(asos_report, "generated", lambda seed: generated(seed, experiments=6, days=8))
    console = Console(record=True, width=160, file=StringIO())
    found = asos_report.measure(console, 1, 1, 0.05, tmp_path / "picture.png")
    assert "not beside the project" in console.export_text()
    assert len(found) == len(METHODS)
    assert (tmp_path / "picture.png").stat().st_size > 1_000
