"""From trained weights to a stored model: graph, neighbours and manifest as blobs."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

import streams.features.strength
import training_bridge.dataset
import training_bridge.ranker
from serving.models.manifest import Manifest, encode_manifest
from streams.stores.blobs import BlobStore
from training_bridge.code_address import code_address
from training_bridge.ranker.onnx_export import to_onnx
from training_bridge.ranker.signals import PARTS
from training_bridge.ranker.weights import RankerWeights

NAME = "ranker"

Neighbours = tuple[NDArray[np.int32], NDArray[np.float32]]
"""Each title's nearest others, int32 [V, K], and how near they are, float32 [V, K]."""


def no_neighbours(titles: int) -> Neighbours:
    """Return neighbours of K = 0, for a model that only scores."""
    return np.zeros((titles, 0), np.int32), np.zeros((titles, 0), np.float32)


def store_model(
    blobs: BlobStore,
    weights: RankerWeights,
    neighbours: Neighbours,
    *,
    metrics: Mapping[str, float],
    dataset: str,
    run: str,
    created_at_ms: int,
) -> str:
    """Store a trained model's files and manifest; return its version. Metrics that are not finite are left out."""
    files = {
        "model.onnx": to_onnx(weights).SerializeToString(deterministic=True),
        "neighbours.npy": npy(neighbours[0]),
        "neighbour_scores.npy": npy(neighbours[1]),
    }
    manifest = Manifest(
        name=NAME,
        created_at_ms=created_at_ms,
        files={name: blobs.put(content) for name, content in files.items()},
        titles=list(weights.titles),
        member_features=list(weights.member_features),
        title_features=list(weights.title_features),
        parts=list(PARTS),
        history_length=weights.config.history_length,
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        dataset=dataset,
        code=_training_code(),
        run=run,
    )
    return blobs.put(encode_manifest(manifest))


def npy(array: NDArray[Any]) -> bytes:
    """Return an array as the content of a `.npy` file, without pickles."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _training_code() -> str:
    """Return the address of all code that decides what a trained model is."""
    return code_address([training_bridge.ranker, training_bridge.dataset, streams.features.strength])
