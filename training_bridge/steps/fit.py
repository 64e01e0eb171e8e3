"""Training: the challenger on the events before the split, the model that will serve on all of them."""

from __future__ import annotations

import numpy as np

from training_bridge.dataset import Dataset
from training_bridge.packaging import no_neighbours, store_model
from training_bridge.ranker.config import RankerConfig
from training_bridge.ranker.neighbours import neighbours
from training_bridge.ranker.training import train
from training_bridge.workspace import Workspace


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
