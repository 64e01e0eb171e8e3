"""The evaluation: challenger, champion and popularity on events that none of them was trained on."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from serving.models.loader import load_model
from serving.models.manifest import decode_manifest
from serving.models.registry import CHAMPION
from serving.ranking.model import RankingModel
from streams.errors import Corrupt, FixRequest, TryAgain
from streams.stores.blobs import BlobStore
from training_bridge.dataset import Dataset
from training_bridge.held_out import POPULARITY, HeldOut, evaluate
from training_bridge.promotion import Evidence
from training_bridge.steps.prepare import champion_dataset
from training_bridge.workspace import Workspace

CHALLENGER: Final = "challenger"


def measure(
    workspace: Workspace,
    run: str,
    dataset: Dataset,
    challenger: str,
    champion: str | None,
    *,
    max_predictions: int,
) -> tuple[HeldOut, Evidence]:
    """Return how the challenger, the champion where that is fair, and popularity predict the events after the split.

    Which of them are predicted depends on the dataset alone, so that runs on the same one can be compared.
    """
    models = {CHALLENGER: load_model(workspace.scratch_blobs(run), challenger)}
    incumbent, recorded, why_not = _incumbent(workspace.blobs, dataset, champion)
    if incumbent is not None:
        models[CHAMPION] = incumbent
    seed = int(dataset.address[:16], 16)
    try:
        found = evaluate(dataset, models, max_predictions=max_predictions, rng=np.random.default_rng(seed))
    except FixRequest as error:
        why_not = str(error)
        models.pop(CHAMPION, None)
        found = evaluate(dataset, models, max_predictions=max_predictions, rng=np.random.default_rng(seed))
    theirs = found.ndcg(CHAMPION)
    if recorded:
        same = recorded.get("predictions") == found.predictions
        theirs = recorded.get("ndcg@10", math.nan) if same else math.nan
        why_not = "its own run measured nothing on these events"
    return found, Evidence(champion, found.predictions, found.ndcg(CHALLENGER), theirs, why_not)


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


def _incumbent(
    blobs: BlobStore, dataset: Dataset, champion: str | None
) -> tuple[RankingModel | None, dict[str, float], str]:
    """Return the champion's model if it can be measured on this dataset, else None.

    Then also the metrics of its own run if that was on this same dataset ({} if not), and why there is neither.
    """
    if champion is None:
        return None, {}, ""
    try:
        manifest = decode_manifest(blobs.get(champion))
        if manifest.dataset == dataset.address:
            return None, manifest.metrics, ""
        seen = champion_dataset(blobs, champion)
        if seen is None or seen.last_ms >= dataset.manifest.split_ms:
            return None, {}, "too little has happened since it was trained, or the split lies before that"
        return load_model(blobs, champion), {}, ""
    except (Corrupt, TryAgain) as error:
        return None, {}, str(error)
