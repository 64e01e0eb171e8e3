"""The work of each step of a training run, apart from the workflow engine that calls them in turn.

Steps hand on addresses only. Each can be repeated: a dataset is rebuilt from its manifest, a model is stored under its
content's address, and registering or promoting what is registered or promoted changes nothing.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Final

import msgspec
import numpy as np

from serving.models.loader import load_model
from serving.models.manifest import decode_manifest
from serving.models.registry import CHAMPION
from serving.ranking.model import RankingModel
from streams.errors import Corrupt, FixRequest, TryAgain
from streams.stores.blobs import BlobStore
from training_bridge import registry
from training_bridge.dataset import Dataset
from training_bridge.dataset_manifest import DatasetManifest, DatasetParameters, decode_dataset_manifest
from training_bridge.dataset_store import make_dataset
from training_bridge.held_out import POPULARITY, HeldOut, evaluate
from training_bridge.packaging import no_neighbours, store_model
from training_bridge.promotion import Evidence
from training_bridge.ranker.config import RankerConfig
from training_bridge.ranker.neighbours import neighbours
from training_bridge.ranker.training import train
from training_bridge.workspace import Workspace

CHALLENGER: Final = "challenger"
MAX_PREDICTIONS: Final = 100_000
"""A prediction takes some milliseconds: a few minutes at most."""
MIN_NEW_EVENTS: Final = 500
"""Events since the champion's training from which the split moves there: as logs usually are, every third of them can
be predicted, which is enough to tell models apart that differ by a fifth."""


def parse_config(text: str) -> RankerConfig:
    """Return the ranker's parameters, given those that differ from the defaults as a JSON object. Raises FixRequest."""
    try:
        given = msgspec.json.decode(text or "{}", type=dict[str, object])
        unknown = set(given) - {field.name for field in fields(RankerConfig)}
        if unknown:
            raise FixRequest("config", f"unknown: {', '.join(sorted(unknown))}")
        return msgspec.convert(given, RankerConfig)
    except msgspec.DecodeError as error:
        raise FixRequest("config", f"{error}; it must be a JSON object such as " + '{"table_width": 128}') from None


def check_run_parameters(config: str, predictions: int, tolerance: float) -> None:
    """Raise FixRequest for a parameter out of its bounds, before anything is read or trained."""
    parse_config(config)
    if not 1 <= predictions <= MAX_PREDICTIONS:
        raise FixRequest("predictions", f"must be between 1 and {MAX_PREDICTIONS:,}")
    if not 0.0 <= tolerance <= 1.0:
        raise FixRequest("tolerance", "must be between 0 and 1")


def prepare(workspace: Workspace, parameters: DatasetParameters) -> tuple[Dataset, str | None]:
    """Return the dataset and the champion's version.

    Unless given, the split moves to the end of what the champion was trained on, if enough has happened since: then
    neither it nor the new model has seen the events they are compared on.
    """
    champion = registry.aliased(workspace.sql, CHAMPION)
    dataset = make_dataset(workspace, parameters)
    seen = champion_dataset(workspace.blobs, champion)
    if seen is None or parameters.split_ms is not None:
        return dataset, champion
    new_events = int(np.sum(dataset.interactions.time_ms > seen.last_ms))
    if MIN_NEW_EVENTS <= new_events < len(dataset.interactions):
        moved = msgspec.structs.replace(parameters, split_ms=seen.last_ms + 1)
        return make_dataset(workspace, moved), champion
    return dataset, champion


def champion_dataset(blobs: BlobStore, champion: str | None) -> DatasetManifest | None:
    """Return what the champion was trained on, None where that is not known (any more)."""
    if champion is None:
        return None
    try:
        return decode_dataset_manifest(blobs.get(decode_manifest(blobs.get(champion)).dataset))
    except (Corrupt, TryAgain):
        return None


def fit_challenger(workspace: Workspace, run: str, dataset: Dataset, config: RankerConfig, seed: int) -> str:
    """Train on the events before the split; return the version of the model, which is in the run's scratch only."""
    rng = np.random.default_rng(seed)
    weights = train(dataset.train, dataset.meta, now_ms=dataset.manifest.split_ms, rng=rng, config=config)
    return store_model(
        workspace.scratch_blobs(run),
        weights,
        no_neighbours(len(weights.titles)),
        metrics=weights.metrics,
        dataset=dataset.address,
        run="",
        created_at_ms=0,
    )


def measure(
    workspace: Workspace,
    run: str,
    dataset: Dataset,
    challenger: str,
    champion: str | None,
    *,
    max_predictions: int,
    seed: int,
) -> tuple[HeldOut, Evidence]:
    """Return how the challenger, the champion where that is fair, and popularity predict the events after the split."""
    models = {CHALLENGER: load_model(workspace.scratch_blobs(run), challenger)}
    incumbent, recorded, why_not = _incumbent(workspace.blobs, dataset, champion)
    if incumbent is not None:
        models[CHAMPION] = incumbent
    rng = np.random.default_rng(seed)
    try:
        found = evaluate(dataset, models, max_predictions=max_predictions, rng=rng)
    except FixRequest as error:
        why_not = str(error)
        models.pop(CHAMPION, None)
        found = evaluate(dataset, models, max_predictions=max_predictions, rng=rng)
    theirs = found.ndcg(CHAMPION) if math.isnan(recorded) else recorded
    return found, Evidence(champion, found.predictions, found.ndcg(CHALLENGER), theirs, why_not)


def export(
    workspace: Workspace, run: str, dataset: Dataset, config: RankerConfig, *, seed: int, created_at_ms: int
) -> str:
    """Train on all events and store the model; return its version, which is a draft as long as it has no evaluation."""
    rng = np.random.default_rng(seed)
    weights = train(dataset.interactions, dataset.meta, now_ms=dataset.manifest.last_ms, rng=rng, config=config)
    return store_model(
        workspace.blobs,
        weights,
        neighbours(dataset.interactions, dataset.meta),
        metrics=weights.metrics,
        dataset=dataset.address,
        run=run,
        created_at_ms=created_at_ms,
    )


def summary(found: HeldOut) -> str:
    """Return what was measured, in a line."""
    if not found.predictions:
        return "nothing to predict: no member with enough events on both sides of the split"
    scores = ", ".join(f"{name} {found.ndcg(name):.4f}" for name in sorted(found.scores, key=found.ndcg, reverse=True))
    return f"NDCG@10 {scores} on {found.predictions:,} events of {found.members:,} members"


def manifest_metrics(found: HeldOut) -> dict[str, float]:
    """Return the metrics of an evaluation as a manifest has them: the model's own, and popularity's beside them."""
    ours, popular = found.scores.get(CHALLENGER, {}), found.scores.get(POPULARITY, {})
    beside = {f"{POPULARITY}.{name}": value for name, value in popular.items()}
    return {**ours, **beside, "predictions": float(found.predictions), "members": float(found.members)}


def _incumbent(blobs: BlobStore, dataset: Dataset, champion: str | None) -> tuple[RankingModel | None, float, str]:
    """Return the champion's model if it can be measured on this dataset, else what its own run measured on the same
    dataset (nan if it was another), else why there is neither."""
    if champion is None:
        return None, math.nan, ""
    try:
        manifest = decode_manifest(blobs.get(champion))
        if manifest.dataset == dataset.address:
            return None, manifest.metrics.get("ndcg@10", math.nan), "its own run measured nothing on this dataset"
        seen = champion_dataset(blobs, champion)
        if seen is None or seen.last_ms >= dataset.manifest.split_ms:
            return None, math.nan, "too little has happened since it was trained, or the split lies before that"
        return load_model(blobs, champion), math.nan, ""
    except (Corrupt, TryAgain) as error:
        return None, math.nan, str(error)
