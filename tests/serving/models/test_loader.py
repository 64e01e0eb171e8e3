from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from serving.models.loader import load_model
from serving.models.manifest import Manifest, decode_manifest, encode_manifest
from streams.catalogue import Title
from streams.errors import Corrupt, TryAgain
from streams.stores.blobs import BlobStore
from tests.serving.tiny_model import store_tiny_model

GENRES = ["Action", "Comedy"]
TITLES = [Title(f"t{number}", f"Title {number}", 2000, (GENRES[number % 2],)) for number in range(12)]

Change = Callable[[BlobStore, Manifest], Manifest]


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path)


def test_a_sound_model_loads_warm(blobs: BlobStore) -> None:
    version = store_tiny_model(blobs, TITLES, GENRES)
    model = load_model(blobs, version)
    assert model.version == version
    assert len(model.vocabulary) == 12
    assert next(item_id for item_id, _ in model.similar("t0", 3)) in {f"t{number}" for number in range(0, 12, 2)}


def with_file(name: str, content: bytes) -> Change:
    return lambda blobs, manifest: msgspec.structs.replace(manifest, files={**manifest.files, name: blobs.put(content)})


def with_field(**fields: object) -> Change:
    return lambda _, manifest: msgspec.structs.replace(manifest, **fields)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=array.dtype == object)
    return buffer.getvalue()


def with_graph(score: float, parts: float, *, named: str = "score") -> Change:
    """A graph that fits the manifest's shapes and answers constants (of which one use of each input is made)."""

    def change(blobs: BlobStore, manifest: Manifest) -> Manifest:
        size, length = len(manifest.titles), manifest.history_length
        value, kind = helper.make_tensor_value_info, TensorProto.FLOAT
        inputs = [
            value("history_title", TensorProto.INT64, [length]),
            value("history_age_s", kind, [length]),
            value("history_strength", kind, [length]),
            value("member", kind, [len(manifest.member_features)]),
            value("titles", kind, [size, len(manifest.title_features)]),
        ]
        outputs = [value(named, kind, [size]), value("parts", kind, [len(manifest.parts), size])]
        constants = [
            numpy_helper.from_array(np.full(size, score, np.float32), "c1"),
            numpy_helper.from_array(np.full((len(manifest.parts), size), parts, np.float32), "c2"),
        ]
        nodes = [helper.make_node("Identity", ["c1"], [named]), helper.make_node("Identity", ["c2"], ["parts"])]
        graph = helper.make_graph(nodes, "constant", inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        return with_file("model.onnx", model.SerializeToString())(blobs, manifest)

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_field(titles=[]), "no titles"),
        (with_field(titles=["t0"] * 12), "titles of the manifest names something twice"),
        (with_field(titles=[f"t{number}" for number in range(11)]), "neighbours are"),
        (with_field(member_features=["recency_s"]), "input member of model.onnx"),
        (with_field(title_features=["trend"]), "input titles of model.onnx"),
        (with_field(parts=["all"]), "output parts of model.onnx"),
        (with_field(history_length=8), "input history_title of model.onnx"),
        (with_field(history_length=100_000), "history_length is 100000"),
        (with_field(files={}), "the manifest names no neighbours.npy"),
        (with_file("model.onnx", b"not a graph"), "model.onnx does not load"),
        (with_file("model.onnx", b""), "model.onnx does not load"),
        (with_file("neighbours.npy", b"not an array"), "neighbours.npy is not a readable array"),
        (with_file("neighbours.npy", pickle.dumps([1])), "neighbours.npy is not a readable array"),
        (with_file("neighbours.npy", npy(np.array([["x"]], object))), "neighbours.npy is not a readable array"),
        (with_file("neighbours.npy", npy(np.zeros((12, 11), np.int64))), "neighbours.npy is int64"),
        (with_file("neighbours.npy", npy(np.full((12, 11), 13, np.int32))), "neighbours name titles outside"),
        (with_file("neighbour_scores.npy", npy(np.zeros((12, 2), np.float32))), "neighbours are"),
        (with_file("neighbour_scores.npy", npy(np.full((12, 11), np.nan, np.float32))), "not finite"),
        (with_graph(np.nan, np.nan), "not finite"),
        (with_graph(1.0, 1.0), "do not sum"),
        (with_graph(3.0, 1.0, named="scores"), "has the outputs"),
    ],
)
def test_a_model_that_is_not_what_its_manifest_says_is_refused(blobs: BlobStore, change: Change, reason: str) -> None:
    sound = decode_manifest(blobs.get(store_tiny_model(blobs, TITLES, GENRES)))
    version = blobs.put(encode_manifest(change(blobs, sound)))
    with pytest.raises(Corrupt, match=reason):
        load_model(blobs, version)


def test_a_constant_graph_whose_parts_sum_is_sound(blobs: BlobStore) -> None:
    sound = decode_manifest(blobs.get(store_tiny_model(blobs, TITLES, GENRES)))
    load_model(blobs, blobs.put(encode_manifest(with_graph(3.0, 1.0)(blobs, sound))))


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"format": 1}', b"\xff"])
def test_a_manifest_that_is_none_is_refused(blobs: BlobStore, raw: bytes) -> None:
    with pytest.raises(Corrupt):
        load_model(blobs, blobs.put(raw))


def test_a_damaged_file_is_refused(blobs: BlobStore) -> None:
    version = store_tiny_model(blobs, TITLES, GENRES)
    path = blobs.path(decode_manifest(blobs.get(version)).files["model.onnx"])
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(Corrupt, match="does not match its sha256"):
        load_model(blobs, version)


def test_a_missing_file_is_worth_another_try(blobs: BlobStore) -> None:
    version = store_tiny_model(blobs, TITLES, GENRES)
    blobs.path(decode_manifest(blobs.get(version)).files["neighbours.npy"]).unlink()
    with pytest.raises(TryAgain):
        load_model(blobs, version)
