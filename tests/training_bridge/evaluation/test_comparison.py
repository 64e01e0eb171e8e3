"""The comparison: every method measured, written and drawn, on a small world."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.training_bridge.ranker.synthetic import SMALL, small_world
from training_bridge.evaluation.baselines import tuning
from training_bridge.evaluation.comparison import FROZEN, OURS, compare
from training_bridge.evaluation.prequential import make_task
from training_bridge.evaluation.report import split_table, verdict_table, write_json


def test_every_method_is_measured_and_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    grids = {name: dict(list(fits.items())[:2]) for name, fits in tuning.GRIDS.items() if name != "iALS"}
    monkeypatch.setattr("training_bridge.evaluation.comparison.GRIDS", grids)
    log, meta = small_world()
    task = make_task(log, meta, 0.6, history_length=SMALL.history_length, half_lives_d=SMALL.popularity_half_lives_d)
    result = compare(task, 0.6, seed=0, config=SMALL)
    assert [method.name for method in result.methods] == ["popularity", "recent popularity", *grids, OURS, FROZEN]
    assert all(np.isfinite(method.metrics["HR@20"].value) for method in result.methods)
    assert split_table(result).row_count == len(result.methods)
    assert verdict_table([result]).row_count == 1
    write_json([result], tmp_path / "out.json")
    assert msgspec.json.decode((tmp_path / "out.json").read_bytes())[0]["members"] == result.members
