from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.models.loader import load_model
from serving.models.manifest import decode_manifest
from serving.models.registry import CHAMPION
from streams.errors import FixRequest
from streams.settings import Settings
from tests.training_bridge.records import made_events, place
from tests.training_bridge.warehouse import publish, store
from training_bridge import registry
from training_bridge.dataset_manifest import DatasetParameters
from training_bridge.dataset_store import load_dataset
from training_bridge.promotion import Decision, Evidence, PromotionPolicy
from training_bridge.steps.fit import export, fit_challenger
from training_bridge.steps.judge import manifest_metrics, measure
from training_bridge.steps.parameters import check_run_parameters, parse_config
from training_bridge.steps.prepare import prepare
from training_bridge.steps.register import finish_model, register_and_decide
from training_bridge.workspace import Workspace, open_workspace

NOW_MS = 1_700_000_000_000
TITLES = 120
CONFIG = parse_config('{"history_length": 16, "table_width": 20, "samples": 100}')
EVENTS = made_events(1_600, members=40, titles=TITLES)
EARLIER, LATER = EVENTS[:1_000], EVENTS


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(state=tmp_path)
    publish(settings, TITLES)
    return settings


@pytest.fixture
def workspace(settings: Settings) -> Iterator[Workspace]:
    with open_workspace(settings) as opened:
        yield opened


def run(
    workspace: Workspace,
    name: str,
    policy: PromotionPolicy | None = None,
    config=CONFIG,
    now_ms: int = NOW_MS,
    max_predictions: int = 300,
) -> tuple[str, Decision, Evidence]:
    """Do what the flow does, in one process."""
    dataset, champion = prepare(workspace, DatasetParameters())
    dataset = load_dataset(workspace, dataset.address)
    challenger = fit_challenger(workspace, name, dataset, config, 1)
    found, evidence = measure(workspace, name, dataset, challenger, champion, max_predictions=max_predictions)
    draft = export(workspace, f"TrainFlow/{name}", dataset, config, seed=1, created_at_ms=now_ms)
    version = finish_model(workspace.blobs, draft, manifest_metrics(found))
    policy = policy or PromotionPolicy()
    return version, register_and_decide(workspace, version, evidence, policy, now_ms), evidence


def test_the_first_run_makes_a_champion_that_serving_loads_and_that_beats_popularity(
    settings: Settings, workspace: Workspace
) -> None:
    store(settings, EARLIER)
    version, decision, _ = run(workspace, "1")
    assert decision.promote
    assert registry.aliased(workspace.sql) == version
    manifest = load_model(workspace.blobs, version).manifest
    assert manifest.metrics["ndcg@10"] > manifest.metrics["popularity.ndcg@10"]
    assert manifest.metrics["predictions"] > 50
    assert manifest.run == "TrainFlow/1"
    found = registry.lineage(workspace.sql, workspace.blobs, version)
    assert found.dataset is not None
    assert sum(part.rows for part in found.dataset.ranges) == len(EARLIER)


def test_the_same_run_again_gives_the_same_version_and_changes_nothing(
    settings: Settings, workspace: Workspace
) -> None:
    store(settings, EARLIER)
    first, _, _ = run(workspace, "1")
    again, decision, _ = run(workspace, "1")
    assert first == again
    assert decision.promote
    assert len(registry.list_models(workspace.sql)) == 1
    assert len(registry.alias_history(workspace.sql, CHAMPION)) == 1


def test_a_run_on_newer_events_is_compared_with_the_champion_on_what_neither_was_trained_on(
    settings: Settings, workspace: Workspace
) -> None:
    store(settings, EARLIER)
    first, _, _ = run(workspace, "1")
    store(settings, LATER)
    version, decision, evidence = run(workspace, "2")
    manifest = decode_manifest(workspace.blobs.get(version))
    held_out_from = registry.lineage(workspace.sql, workspace.blobs, version).dataset.split_ms
    assert held_out_from > max(row["event_time_ms"] for row in EARLIER)
    assert evidence.champion == first
    assert evidence.champion_ndcg == pytest.approx(evidence.challenger_ndcg, rel=0.25)
    assert decision.promote
    assert manifest.dataset != decode_manifest(workspace.blobs.get(first)).dataset


def test_a_worse_model_is_registered_and_not_promoted_unless_by_hand(settings: Settings, workspace: Workspace) -> None:
    store(settings, EARLIER)
    first, _, _ = run(workspace, "1")
    recorded = decode_manifest(workspace.blobs.get(first)).metrics["ndcg@10"]
    config = parse_config('{"history_length": 1, "table_width": 1, "samples": 1}')
    strict = PromotionPolicy(tolerance=0.0)
    worse, decision, evidence = run(workspace, "2", strict, config)
    assert evidence.champion_ndcg == recorded > evidence.challenger_ndcg
    assert not decision.promote
    assert "worse by more than 0%" in decision.reason
    assert registry.aliased(workspace.sql) == first
    assert {model.version for model in registry.list_models(workspace.sql)} == {first, worse}
    _, forced, _ = run(workspace, "2", PromotionPolicy(forced="to see it serve"), config)
    assert forced.promote
    assert registry.aliased(workspace.sql) == worse


def test_measurements_on_different_samples_of_a_dataset_are_not_compared(
    settings: Settings, workspace: Workspace
) -> None:
    store(settings, EARLIER)
    run(workspace, "1")
    _, decision, _ = run(workspace, "2", max_predictions=60, now_ms=NOW_MS + 1)
    assert not decision.promote
    assert "measured nothing on these events" in decision.reason


def test_with_a_handful_of_new_events_the_champion_stays_and_the_reason_says_why(
    settings: Settings, workspace: Workspace
) -> None:
    store(settings, EARLIER)
    first, _, _ = run(workspace, "1")
    store(settings, EVENTS[:1_050])
    _, decision, _ = run(workspace, "2")
    assert not decision.promote
    assert "too little has happened since it was trained" in decision.reason
    assert registry.aliased(workspace.sql) == first


def test_a_champion_whose_files_are_damaged_is_not_compared_with(settings: Settings, workspace: Workspace) -> None:
    store(settings, EARLIER)
    first, _, _ = run(workspace, "1")
    store(settings, LATER)
    graph = workspace.blobs.path(decode_manifest(workspace.blobs.get(first)).files["model.onnx"])
    graph.write_bytes(b"garbage")
    _, decision, evidence = run(workspace, "2", now_ms=NOW_MS + 1)
    assert math.isnan(evidence.champion_ndcg)
    assert not decision.promote
    assert "does not match its sha256" in decision.reason


def test_a_model_trained_while_another_became_champion_is_not_promoted(
    settings: Settings, workspace: Workspace
) -> None:
    store(settings, EARLIER)
    first, _, _ = run(workspace, "1")
    second, _, _ = run(workspace, "2", PromotionPolicy(forced="another"), now_ms=NOW_MS + 1)
    stale = Evidence(None, 400, 0.9, 0.1)
    decision = register_and_decide(workspace, first, stale, PromotionPolicy(), NOW_MS + 2)
    assert not decision.promote
    assert registry.aliased(workspace.sql) == second


def test_members_with_few_events_leave_nothing_to_predict_and_still_a_first_model(
    settings: Settings, workspace: Workspace
) -> None:
    store(settings, place([{**row, "member_id": f"m{n % 100}"} for n, row in enumerate(EVENTS[:200])]))
    version, decision, evidence = run(workspace, "1")
    assert (evidence.predictions, decision.reason) == (0, "the first model")
    assert "ndcg@10" not in load_model(workspace.blobs, version).manifest.metrics


@pytest.mark.parametrize("config", ["[", "[1]", '{"nope": 1}', '{"table_width": "wide"}'])
def test_a_config_that_is_not_one_is_refused(config: str) -> None:
    with pytest.raises(FixRequest, match="config"):
        parse_config(config)


@pytest.mark.parametrize(("predictions", "tolerance"), [(0, 0.1), (10, -0.1), (10, math.nan)])
def test_parameters_out_of_their_bounds_are_refused(predictions: int, tolerance: float) -> None:
    with pytest.raises(FixRequest):
        check_run_parameters("{}", predictions, tolerance)
