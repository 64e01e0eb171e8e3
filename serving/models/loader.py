"""From a version to a model that may serve: bytes are checked against their sha256, shapes against the manifest."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from serving.models.manifest import Manifest, decode_manifest
from serving.ranking.inputs import HistoryArrays
from serving.ranking.model import RankingModel
from streams.errors import Corrupt
from streams.stores.blobs import BlobStore

GRAPH: Final = "model.onnx"
NEIGHBOURS: Final = "neighbours.npy"
NEIGHBOUR_SCORES: Final = "neighbour_scores.npy"

MAX_TITLES: Final = 1_000_000
"""Scores of more titles than this would not fit a page's time, whatever the graph."""
MAX_HISTORY: Final = 128
"""A member's state holds no longer history."""
PARTS_TOLERANCE: Final = 1e-3
"""Parts must sum to the score within this, relative to the largest part: the order of float32 sums matters less."""

_FLOAT, _INT64 = "tensor(float)", "tensor(int64)"
_Shape = Sequence[int]


def load_model(blobs: BlobStore, version: str) -> RankingModel:
    """Return the model of a version, verified and warm.

    Raises Corrupt, with the reason, if any part is not what the manifest says; TryAgain if a blob cannot be read.
    """
    manifest = decode_manifest(blobs.get(version))
    _check_manifest(manifest)
    neighbours = _load_array(blobs, manifest, NEIGHBOURS, np.dtype(np.int32))
    neighbour_scores = _load_array(blobs, manifest, NEIGHBOUR_SCORES, np.dtype(np.float32))
    _check_neighbours(len(manifest.titles), neighbours, neighbour_scores)
    session = open_session(_file(blobs, manifest, GRAPH))
    _check_graph(manifest, session)
    absent = (neighbours < 0) | (neighbours >= len(manifest.titles))
    neighbours = np.where(absent, np.int32(len(manifest.titles)), neighbours)
    model = RankingModel(version, manifest, session, neighbours, neighbour_scores)
    warm(model)
    return model


def open_session(graph: bytes) -> onnxruntime.InferenceSession:
    """Return an onnxruntime session that runs in the calling thread alone. Raises Corrupt if the graph is no good."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no base of their own
        raise Corrupt(f"{GRAPH} does not load: {_first_line(error)}") from error


def warm(model: RankingModel) -> None:
    """Run the model without and with a history. Raises Corrupt if an answer has a wrong shape or sum, or a NaN."""
    manifest = model.manifest
    size = len(manifest.titles)
    titles = np.zeros((size, len(manifest.title_features)), np.float32)
    member = np.zeros(len(manifest.member_features), np.float32)
    length = manifest.history_length
    ages_s = np.zeros(length, np.float32)
    empty = HistoryArrays(np.full(length, size, np.int64), ages_s, np.zeros(length, np.float32))
    busy = HistoryArrays(np.arange(length, dtype=np.int64) % (size + 1), ages_s, np.ones(length, np.float32))
    for history in (empty, busy):
        try:
            score, parts = model.run(history, member, titles)
        except Exception as error:  # onnxruntime's errors have no base of their own
            raise Corrupt(f"{GRAPH} does not run: {_first_line(error)}") from error
        _check_output("score", score, (size,))
        _check_output("parts", parts, (len(manifest.parts), size))
        _check_sum(score, parts)


def _check_manifest(manifest: Manifest) -> None:
    if len(manifest.titles) > MAX_TITLES:
        raise Corrupt(f"the manifest has {len(manifest.titles)} titles; serving scores up to {MAX_TITLES}")
    if not 1 <= manifest.history_length <= MAX_HISTORY:
        raise Corrupt(f"history_length is {manifest.history_length}; it may be 1 to {MAX_HISTORY}")
    if not manifest.titles or not manifest.parts:
        raise Corrupt("the manifest names no titles or no parts")
    for field in ("titles", "member_features", "title_features", "parts"):
        names = getattr(manifest, field)
        if len(set(names)) != len(names):
            raise Corrupt(f"{field} of the manifest names something twice")


def _file(blobs: BlobStore, manifest: Manifest, name: str) -> bytes:
    sha256 = manifest.files.get(name)
    if sha256 is None:
        raise Corrupt(f"the manifest names no {name}")
    return blobs.get(sha256)


def _load_array(blobs: BlobStore, manifest: Manifest, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(io.BytesIO(_file(blobs, manifest, name)), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise Corrupt(f"{name} is not a readable array: {_first_line(error)}") from error
    if array.dtype != dtype or array.ndim != 2:
        raise Corrupt(f"{name} is {array.dtype} with {array.ndim} axes, not {dtype} with 2")
    return array


def _check_neighbours(size: int, neighbours: NDArray[np.int32], scores: NDArray[np.float32]) -> None:
    if neighbours.shape != scores.shape or len(neighbours) != size:
        raise Corrupt(f"neighbours are {neighbours.shape} and their scores {scores.shape} for {size} titles")
    if neighbours.size and (neighbours.min() < -1 or neighbours.max() > size):
        raise Corrupt(f"neighbours name titles outside of the {size} in the vocabulary")
    if not np.isfinite(scores).all():
        raise Corrupt(f"{NEIGHBOUR_SCORES} has values that are not finite")


def _check_graph(manifest: Manifest, session: onnxruntime.InferenceSession) -> None:
    size, length = len(manifest.titles), manifest.history_length
    inputs: dict[str, tuple[str, _Shape]] = {
        "history_title": (_INT64, (length,)),
        "history_age_s": (_FLOAT, (length,)),
        "history_strength": (_FLOAT, (length,)),
        "member": (_FLOAT, (len(manifest.member_features),)),
        "titles": (_FLOAT, (size, len(manifest.title_features))),
    }
    outputs: dict[str, tuple[str, _Shape]] = {
        "score": (_FLOAT, (size,)),
        "parts": (_FLOAT, (len(manifest.parts), size)),
    }
    _check_nodes("input", inputs, session.get_inputs())
    _check_nodes("output", outputs, session.get_outputs())


def _check_nodes(side: str, expected: dict[str, tuple[str, _Shape]], nodes: Sequence[Any]) -> None:
    found = {node.name: node for node in nodes}
    if set(found) != set(expected):
        raise Corrupt(f"{GRAPH} has the {side}s {sorted(found)}, not {sorted(expected)}")
    for name, (dtype, shape) in expected.items():
        node = found[name]
        if node.type != dtype or not _fits(node.shape, shape):
            raise Corrupt(f"{side} {name} of {GRAPH} is {node.type} {node.shape}, not {dtype} {list(shape)}")


def _fits(declared: Sequence[int | str | None], shape: _Shape) -> bool:
    """Return whether declared dimensions are these; a symbolic one fits any (the warm run then measures it)."""
    return len(declared) == len(shape) and all(
        not isinstance(dimension, int) or dimension == size for dimension, size in zip(declared, shape, strict=True)
    )


def _check_output(name: str, values: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    if values.shape != shape or values.dtype != np.float32:
        raise Corrupt(f"a run answers {name} as {values.dtype} {values.shape}, not float32 {shape}")
    if not np.isfinite(values).all():
        raise Corrupt(f"a run answers {name} with values that are not finite")


def _check_sum(score: NDArray[np.float32], parts: NDArray[np.float32]) -> None:
    scale = max(float(np.abs(parts).max(initial=0.0)), 1.0)
    if float(np.abs(parts.sum(axis=0) - score).max(initial=0.0)) > PARTS_TOLERANCE * scale:
        raise Corrupt("the parts that a run answers do not sum to its score")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
