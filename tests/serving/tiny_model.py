"""A small but real ranking model: an ONNX graph that honours `serving.models.manifest`, registered as champion.

Score = history (similarity to recent titles, by strength and age) + taste (the member's genre affinities)
+ popularity (log of the live weekly popularity).
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import onnx
import sqlalchemy as sa
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from serving.models import registry
from serving.models.aliases import set_alias
from serving.models.manifest import Manifest, encode_manifest
from streams.catalogue import Title
from streams.stores.blobs import BlobStore
from streams.stores.sql import writing

HISTORY_LENGTH = 16
NEIGHBOURS = 20
NOISE_DIMENSIONS = 4
HALF_LIFE_S = 14 * 86_400.0
PARTS = ["history", "taste", "popularity"]
TITLE_FEATURES = ["popularity:7d", "trend", "age_days"]
NOW_MS = 1_700_000_000_000


def write_tiny_model(
    blobs: BlobStore,
    engine: sa.Engine,
    titles: Sequence[Title],
    genres: Sequence[str],
    *,
    alias: str | None = registry.CHAMPION,
    seed: int = 0,
    created_at_ms: int = NOW_MS,
) -> str:
    """Store a tiny model of `titles` (its vocabulary, in order), register it, point `alias` at it; return its version.

    Weekly popularity, genre affinity and recent titles each move its scores."""
    version = store_tiny_model(blobs, titles, genres, seed=seed, created_at_ms=created_at_ms)
    register(engine, version, created_at_ms)
    if alias is not None:
        point_alias(engine, alias, version, created_at_ms)
    return version


def store_tiny_model(
    blobs: BlobStore, titles: Sequence[Title], genres: Sequence[str], *, seed: int = 0, created_at_ms: int = NOW_MS
) -> str:
    """Store the model's blobs only; return its version."""
    embeddings = title_embeddings(titles, genres, seed)
    neighbours, neighbour_scores = nearest(embeddings)
    files = {
        "model.onnx": tiny_graph(embeddings, genres, len(titles)),
        "neighbours.npy": _npy(neighbours),
        "neighbour_scores.npy": _npy(neighbour_scores),
    }
    return blobs.put(encode_manifest(tiny_manifest(blobs, files, titles, genres, created_at_ms)))


def tiny_manifest(
    blobs: BlobStore,
    files: dict[str, bytes],
    titles: Sequence[Title],
    genres: Sequence[str],
    created_at_ms: int = NOW_MS,
) -> Manifest:
    """Store the files and return the manifest that names them."""
    return Manifest(
        name="tiny",
        created_at_ms=created_at_ms,
        files={name: blobs.put(content) for name, content in files.items()},
        titles=[title.item_id for title in titles],
        member_features=[f"affinity:{genre}" for genre in genres] + ["recency_s"],
        title_features=TITLE_FEATURES,
        parts=PARTS,
        history_length=HISTORY_LENGTH,
        metrics={"ndcg@10": 0.1},
        dataset="0" * 64,
        code="0" * 64,
    )


def register(engine: sa.Engine, version: str, at_ms: int = NOW_MS) -> None:
    """Add a version to the registry, unless it is there."""
    row = {"name": "tiny", "run": "", "dataset": "0" * 64, "metrics": {}, "registered_at_ms": at_ms}
    with writing(engine) as connection:
        table = registry.model_versions
        if connection.scalar(sa.select(table.c.version).where(table.c.version == version)) is None:
            connection.execute(sa.insert(table).values(version=version, **row))


def point_alias(engine: sa.Engine, alias: str, version: str, at_ms: int = NOW_MS) -> None:
    """Make an alias name a registered version."""
    set_alias(engine, alias, version, "test", at_ms)


def title_embeddings(titles: Sequence[Title], genres: Sequence[str], seed: int) -> NDArray[np.float32]:
    """Return float32 [V, G + noise]: unit vectors of a title's genres and a little noise that tells titles apart."""
    flags = np.array([[genre in title.genres for genre in genres] for title in titles], np.float32)
    noise = np.random.default_rng(seed).normal(0, 0.3, (len(titles), NOISE_DIMENSIONS)).astype(np.float32)
    joined = np.concatenate([flags.reshape(len(titles), len(genres)), noise], axis=1)
    unit: NDArray[np.float32] = joined / np.maximum(np.linalg.norm(joined, axis=1, keepdims=True), 1e-6)
    return unit


def nearest(embeddings: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return each title's nearest others, int32 [V, K] and their cosine float32 [V, K], the nearest first."""
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -np.inf)
    width = min(NEIGHBOURS, max(len(embeddings) - 1, 0))
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :width]
    return order.astype(np.int32), np.take_along_axis(similarity, order, axis=1).astype(np.float32)


def tiny_graph(embeddings: NDArray[np.float32], genres: Sequence[str], vocabulary: int) -> bytes:
    """Return the serialised graph. Vectors stand left of matrices: onnxruntime is ten times slower the other way."""
    width = embeddings.shape[1]
    constants = {
        "padded": np.concatenate([embeddings, np.zeros((1, width), np.float32)]),
        "embeddings": np.ascontiguousarray(embeddings.T),
        "genre_flags": np.ascontiguousarray((embeddings[:, : len(genres)] > 0).astype(np.float32).T),
        "rate": np.array(-np.log(2) / HALF_LIFE_S, np.float32),
        "start": np.array([0], np.int64),
        "genre_end": np.array([len(genres)], np.int64),
        "axis0": np.array([0], np.int64),
        "axis1": np.array([1], np.int64),
        "axis_one": np.array([1], np.int64),
        "one": np.array(1, np.float32),
        "small": np.array(0.1, np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Gather", ["padded", "history_title"], ["recent"]),
        node("Mul", ["history_age_s", "rate"], ["log_decay"]),
        node("Exp", ["log_decay"], ["decay"]),
        node("Mul", ["decay", "history_strength"], ["weights"]),
        node("MatMul", ["weights", "recent"], ["taste_vector"]),
        node("MatMul", ["taste_vector", "embeddings"], ["history"]),
        node("Slice", ["member", "start", "genre_end", "axis0"], ["affinity"]),
        node("MatMul", ["affinity", "genre_flags"], ["taste_sum"]),
        node("Mul", ["taste_sum", "small"], ["taste"]),
        node("Slice", ["titles", "start", "axis_one", "axis1"], ["weekly"]),
        node("Squeeze", ["weekly", "axis1"], ["weekly_flat"]),
        node("Relu", ["weekly_flat"], ["weekly_positive"]),
        node("Add", ["weekly_positive", "one"], ["weekly_plus"]),
        node("Log", ["weekly_plus"], ["log_weekly"]),
        node("Mul", ["log_weekly", "small"], ["popularity"]),
        *[node("Unsqueeze", [part, "axis0"], [f"{part}_row"]) for part in PARTS],
        node("Concat", [f"{part}_row" for part in PARTS], ["parts"], axis=0),
        node("ReduceSum", ["parts", "axis0"], ["score"], keepdims=0),
    ]
    floats, member_size = TensorProto.FLOAT, len(genres) + 1
    inputs = [
        helper.make_tensor_value_info("history_title", TensorProto.INT64, [HISTORY_LENGTH]),
        helper.make_tensor_value_info("history_age_s", floats, [HISTORY_LENGTH]),
        helper.make_tensor_value_info("history_strength", floats, [HISTORY_LENGTH]),
        helper.make_tensor_value_info("member", floats, [member_size]),
        helper.make_tensor_value_info("titles", floats, [vocabulary, len(TITLE_FEATURES)]),
    ]
    outputs = [
        helper.make_tensor_value_info("score", floats, [vocabulary]),
        helper.make_tensor_value_info("parts", floats, [len(PARTS), vocabulary]),
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def _npy(array: NDArray[np.int32] | NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
