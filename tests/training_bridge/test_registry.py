from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from serving.models.manifest import Manifest, encode_manifest
from serving.models.registry import CHAMPION
from streams.errors import Corrupt, FixRequest, TryAgain
from streams.settings import Settings
from streams.stores.blobs import BlobStore
from streams.stores.sql import open_sql
from tests.serving import tiny_model
from tests.training_bridge.records import GENRES, made_events, made_titles, table
from tests.training_bridge.registry_writer import register_and_promote
from training_bridge import registry
from training_bridge.dataset import build_dataset
from training_bridge.dataset_manifest import DatasetParameters, encode_dataset_manifest

NOW_MS = 1_700_000_000_000


class Model(NamedTuple):
    """A manifest and the files it names."""

    manifest: Manifest
    files: dict[str, bytes]


def made_model(blobs: BlobStore, seed: int = 0, dataset: str = "0" * 64) -> Model:
    titles = made_titles(6)
    version = tiny_model.store_tiny_model(blobs, titles, GENRES, seed=seed)
    manifest = msgspec.structs.replace(registry.verify(blobs, version), dataset=dataset, run="Flow/7")
    return Model(manifest, {name: blobs.get(sha256) for name, sha256 in manifest.files.items()})


@pytest.fixture
def engine(sql_engine: sa.Engine) -> sa.Engine:
    return sql_engine


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def versions(engine: sa.Engine, blobs: BlobStore) -> list[str]:
    return [registry.register(engine, blobs, *made_model(blobs, seed), NOW_MS + seed) for seed in range(3)]


def test_registering_twice_registers_once(engine: sa.Engine, blobs: BlobStore) -> None:
    model = made_model(blobs)
    first = registry.register(engine, blobs, *model, NOW_MS)
    again = registry.register(engine, blobs, *model, NOW_MS + 1)
    assert first == again
    assert [(m.version, m.registered_at_ms) for m in registry.list_models(engine)] == [(first, NOW_MS)]


def test_what_is_registered_can_be_read_back(engine: sa.Engine, blobs: BlobStore, versions: list[str]) -> None:
    newest = registry.list_models(engine)[0]
    manifest = registry.verify(blobs, newest.version)
    assert newest.version == versions[-1]
    assert (newest.run, newest.metrics, newest.dataset) == ("Flow/7", manifest.metrics, manifest.dataset)


def test_a_file_that_is_not_what_the_manifest_says_is_refused(engine: sa.Engine, blobs: BlobStore) -> None:
    manifest, files = made_model(blobs)
    with pytest.raises(Corrupt, match=r"model\.onnx"):
        registry.register(engine, blobs, manifest, {**files, "model.onnx": files["model.onnx"] + b"!"}, NOW_MS)
    with pytest.raises(FixRequest, match=r"neighbours\.npy"):
        registry.register(engine, blobs, manifest, {k: v for k, v in files.items() if k != "neighbours.npy"}, NOW_MS)
    assert registry.list_models(engine) == []


def test_a_model_without_a_file_that_serving_needs_is_refused(engine: sa.Engine, blobs: BlobStore) -> None:
    manifest, files = made_model(blobs)
    only = {"model.onnx": manifest.files["model.onnx"]}
    with pytest.raises(Corrupt, match=r"neighbours\.npy"):
        registry.register(engine, blobs, msgspec.structs.replace(manifest, files=only), files, NOW_MS)


def test_a_stored_file_that_has_changed_is_found(blobs: BlobStore, versions: list[str]) -> None:
    path = blobs.path(registry.verify(blobs, versions[0]).files["model.onnx"])
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(Corrupt):
        registry.verify(blobs, versions[0])
    path.unlink()
    with pytest.raises(TryAgain):
        registry.verify(blobs, versions[0])


def test_every_move_of_an_alias_is_kept_with_its_reason(engine: sa.Engine, versions: list[str]) -> None:
    a, b, _ = versions
    assert registry.aliased(engine) is None
    assert registry.set_alias(engine, CHAMPION, a, "first", NOW_MS)
    assert registry.set_alias(engine, CHAMPION, b, "better", NOW_MS + 1)
    assert registry.aliased(engine) == b
    changes = registry.alias_history(engine, CHAMPION)
    assert [(c.previous, c.version, c.reason, c.set_at_ms) for c in changes] == [
        (None, a, "first", NOW_MS),
        (a, b, "better", NOW_MS + 1),
    ]


def test_setting_an_alias_to_where_it_is_changes_nothing(engine: sa.Engine, versions: list[str]) -> None:
    registry.set_alias(engine, CHAMPION, versions[0], "first", NOW_MS)
    assert not registry.set_alias(engine, CHAMPION, versions[0], "again", NOW_MS + 1)
    assert len(registry.alias_history(engine, CHAMPION)) == 1


def test_an_alias_is_not_moved_from_elsewhere_than_expected(engine: sa.Engine, versions: list[str]) -> None:
    a, b, c = versions
    registry.set_alias(engine, CHAMPION, a, "first", NOW_MS, expected=None)
    assert not registry.set_alias(engine, CHAMPION, a, "a retry of the same", NOW_MS, expected=None)
    for expected in (None, c):
        with pytest.raises(TryAgain, match="moved"):
            registry.set_alias(engine, CHAMPION, b, "better", NOW_MS, expected=expected)
    assert registry.aliased(engine) == a


def test_an_alias_needs_a_registered_version_and_a_reason(engine: sa.Engine, versions: list[str]) -> None:
    with pytest.raises(FixRequest, match="not registered"):
        registry.set_alias(engine, CHAMPION, "f" * 64, "better", NOW_MS)
    with pytest.raises(FixRequest, match="reason"):
        registry.set_alias(engine, CHAMPION, versions[0], " ", NOW_MS)
    assert registry.alias_history(engine, CHAMPION) == []


def test_rolling_back_twice_goes_two_steps_back_and_then_says_that_nothing_is_earlier(
    engine: sa.Engine, blobs: BlobStore, versions: list[str]
) -> None:
    for step, version in enumerate(versions):
        registry.set_alias(engine, CHAMPION, version, f"promoted {step}", NOW_MS + step)
    assert registry.rollback(engine, blobs, CHAMPION, "clicks fell", NOW_MS + 10) == versions[1]
    assert registry.rollback(engine, blobs, CHAMPION, "still", NOW_MS + 11) == versions[0]
    with pytest.raises(FixRequest, match="no earlier version"):
        registry.rollback(engine, blobs, CHAMPION, "once more", NOW_MS + 12)
    assert registry.aliased(engine) == versions[0]
    assert registry.alias_history(engine, CHAMPION)[-1].reason == f"rollback from {versions[1][:12]}: still"


def test_a_damaged_version_is_no_way_back(engine: sa.Engine, blobs: BlobStore, versions: list[str]) -> None:
    for step, version in enumerate(versions[:2]):
        registry.set_alias(engine, CHAMPION, version, f"promoted {step}", NOW_MS + step)
    blobs.path(versions[0]).write_bytes(b"{}")
    with pytest.raises(Corrupt):
        registry.rollback(engine, blobs, CHAMPION, "clicks fell", NOW_MS + 10)
    assert registry.aliased(engine) == versions[1]


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12))
def test_rollbacks_end_and_never_stay_where_they_are(moves: list[str]) -> None:
    changes: list[registry.AliasChange] = []

    def move(version: str) -> None:
        if not changes or changes[-1].version != version:
            previous = changes[-1].version if changes else None
            changes.append(registry.AliasChange(len(changes), "x", previous, version, 0, "r"))

    for version in moves:
        move(version)
    steps = 0
    while (earlier := registry.earlier_version(changes)) is not None:
        assert earlier != changes[-1].version
        move(earlier)
        steps += 1
    assert steps < len(moves)
    assert changes[-1].version == moves[0]


def test_a_model_is_found_by_alias_by_version_and_by_the_start_of_it(engine: sa.Engine, versions: list[str]) -> None:
    registry.set_alias(engine, CHAMPION, versions[1], "first", NOW_MS)
    for name in (CHAMPION, versions[1], versions[1][:8]):
        assert registry.find_model(engine, name).version == versions[1]
    assert registry.find_model(engine, CHAMPION).aliases == (CHAMPION,)
    for name in ("", "unknown", versions[0][:2]):
        with pytest.raises(FixRequest, match="marquee models list"):
            registry.find_model(engine, name)


def test_lineage_leads_from_a_version_to_the_records_it_was_trained_on(engine: sa.Engine, blobs: BlobStore) -> None:
    dataset = build_dataset(table(made_events()), made_titles(), DatasetParameters())
    address = blobs.put(encode_dataset_manifest(dataset.manifest))
    version = registry.register(engine, blobs, *made_model(blobs, dataset=address), NOW_MS)
    registry.set_alias(engine, CHAMPION, version, "first", NOW_MS)
    found = registry.lineage(engine, blobs, CHAMPION)
    assert found.dataset is not None
    assert sum(part.rows for part in found.dataset.ranges) == len(made_events())
    assert (found.model.run, found.dataset, found.changes[0].reason) == ("Flow/7", dataset.manifest, "first")


def test_lineage_of_a_dataset_that_is_not_kept_says_so(
    engine: sa.Engine, blobs: BlobStore, versions: list[str]
) -> None:
    assert registry.lineage(engine, blobs, versions[0]).dataset is None


def test_two_processes_register_and_promote_at_once_and_the_moves_form_one_chain(tmp_path: Path, sql_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    blobs = BlobStore(tmp_path / "blobs")
    versions = [blobs.put(encode_manifest(made_model(blobs, seed).manifest)) for seed in range(2)]
    writers = [context.Process(target=register_and_promote, args=(tmp_path, sql_url, v, barrier)) for v in versions]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    assert [writer.exitcode for writer in writers] == [0, 0]
    engine = open_sql(Settings(state=tmp_path, sql_url=sql_url))
    changes = registry.alias_history(engine, CHAMPION)
    assert [c.previous for c in changes] == [None, *(c.version for c in changes[:-1])]
    assert registry.aliased(engine) == changes[-1].version
    assert len(registry.list_models(engine)) == 2
    engine.dispose()
