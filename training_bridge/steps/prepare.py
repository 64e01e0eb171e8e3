"""The first step: the dataset, and the champion that the new model is to be compared with."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np

from serving.models.manifest import decode_manifest
from serving.models.registry import CHAMPION
from streams.errors import Corrupt, TryAgain
from streams.stores.blobs import BlobStore
from training_bridge import registry
from training_bridge.dataset import Dataset
from training_bridge.dataset_manifest import DatasetManifest, DatasetParameters, decode_dataset_manifest
from training_bridge.dataset_store import make_dataset
from training_bridge.workspace import Workspace

MIN_NEW_EVENTS: Final = 500
"""Events since the champion's training from which the split moves there: as logs usually are, every third of them can
be predicted, which is enough to tell models apart that differ by a fifth."""


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
