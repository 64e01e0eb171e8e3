from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from serving.models import holder as holder_module
from serving.models import registry
from serving.models.holder import REFRESHES_UNTIL_RETRY, ModelHolder
from serving.models.manifest import decode_manifest
from serving.models.places import MAX_MODELS
from serving.ranking.model import RankingModel
from streams.catalogue import Title
from streams.stores.blobs import BlobStore
from tests.serving.tiny_model import point_alias, register, store_tiny_model, write_tiny_model

GENRES = ["Action", "Comedy"]
TITLES = [Title(f"t{number}", f"Title {number}", 2000, (GENRES[number % 2],)) for number in range(8)]


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    return sa.create_engine(f"sqlite:///{tmp_path / 'registry.db'}")


@pytest.fixture
def holder(engine: sa.Engine, blobs: BlobStore) -> ModelHolder:
    return ModelHolder(engine, blobs, refresh_s=0.005)


def version_of(holder: ModelHolder) -> str | None:
    return holder.current.version if holder.current is not None else None


def damage(blobs: BlobStore, version: str) -> bytes:
    """Damage a model's graph; return what it was."""
    path = blobs.path(decode_manifest(blobs.get(version)).files["model.onnx"])
    sound = path.read_bytes()
    path.write_bytes(sound[:-1] + b"!")
    return sound


def restore(blobs: BlobStore, version: str, sound: bytes) -> None:
    blobs.path(decode_manifest(blobs.get(version)).files["model.onnx"]).write_bytes(sound)


def test_without_a_champion_there_is_no_model_and_nothing_to_refuse(holder: ModelHolder) -> None:
    assert not holder.refresh()
    assert holder.current is None
    assert holder.refusal is None


def test_a_new_champion_is_taken_once(holder: ModelHolder, engine: sa.Engine, blobs: BlobStore) -> None:
    first = write_tiny_model(blobs, engine, TITLES, GENRES)
    assert holder.refresh()
    assert version_of(holder) == first
    model = holder.current
    assert not holder.refresh()
    assert holder.current is model
    second = write_tiny_model(blobs, engine, TITLES, GENRES, seed=2)
    assert holder.refresh()
    assert version_of(holder) == second != first


def test_a_damaged_champion_is_refused_and_the_last_good_one_stays(
    holder: ModelHolder, engine: sa.Engine, blobs: BlobStore
) -> None:
    first = write_tiny_model(blobs, engine, TITLES, GENRES)
    holder.refresh()
    second = write_tiny_model(blobs, engine, TITLES, GENRES, seed=2)
    damage(blobs, second)
    assert not holder.refresh()
    assert version_of(holder) == first
    assert holder.refusal is not None
    assert second[:12] in holder.refusal
    assert "sha256" in holder.refusal


def test_a_restored_champion_is_tried_again_after_a_while(
    holder: ModelHolder, engine: sa.Engine, blobs: BlobStore
) -> None:
    version = write_tiny_model(blobs, engine, TITLES, GENRES)
    sound = damage(blobs, version)
    holder.refresh()
    restore(blobs, version, sound)
    assert [holder.refresh() for _ in range(REFRESHES_UNTIL_RETRY + 1)] == [False] * REFRESHES_UNTIL_RETRY + [True]
    assert version_of(holder) == version
    assert holder.refusal is None


def test_pointing_back_to_the_serving_model_ends_the_refusal(
    holder: ModelHolder, engine: sa.Engine, blobs: BlobStore
) -> None:
    first = write_tiny_model(blobs, engine, TITLES, GENRES)
    holder.refresh()
    damage(blobs, write_tiny_model(blobs, engine, TITLES, GENRES, seed=2))
    holder.refresh()
    point_alias(engine, registry.CHAMPION, first)
    assert not holder.refresh()
    assert holder.refusal is None


def test_a_vanished_blob_leaves_the_model_and_is_found_when_it_is_back(
    holder: ModelHolder, engine: sa.Engine, blobs: BlobStore
) -> None:
    first = write_tiny_model(blobs, engine, TITLES, GENRES)
    holder.refresh()
    second = store_tiny_model(blobs, TITLES, GENRES, seed=2)
    path = blobs.path(second)
    manifest = path.read_bytes()
    path.unlink()
    register(engine, second)
    point_alias(engine, registry.CHAMPION, second)
    assert not holder.refresh()
    assert version_of(holder) == first
    assert holder.refusal is not None
    path.write_bytes(manifest)
    assert holder.refresh()
    assert version_of(holder) == second
    assert holder.refusal is None


def test_a_dead_database_leaves_the_model_and_says_so(
    holder: ModelHolder, engine: sa.Engine, blobs: BlobStore, tmp_path: Path
) -> None:
    first = write_tiny_model(blobs, engine, TITLES, GENRES)
    holder.refresh()
    engine.dispose()
    database = tmp_path / "registry.db"
    content = database.read_bytes()
    database.write_bytes(b"this is no database" * 100)
    assert not holder.refresh()
    assert version_of(holder) == first
    assert holder.refusal is not None
    engine.dispose()
    database.write_bytes(content)
    holder.refresh()
    assert holder.refusal is None


def test_aliases_serve_side_by_side(engine: sa.Engine, blobs: BlobStore) -> None:
    holder = ModelHolder(engine, blobs, 1.0, aliases=(registry.CHAMPION, "candidate"))
    champion = write_tiny_model(blobs, engine, TITLES, GENRES)
    candidate = write_tiny_model(blobs, engine, TITLES, GENRES, alias="candidate", seed=3)
    holder.refresh()
    assert {alias: model.version for alias, model in holder.models.items()} == {
        registry.CHAMPION: champion,
        "candidate": candidate,
    }
    point_alias(engine, registry.CHAMPION, candidate)
    holder.refresh()
    assert holder.models[registry.CHAMPION] is holder.models["candidate"]


def test_an_alias_taken_away_goes_out_of_service_but_for_the_champion(engine: sa.Engine, blobs: BlobStore) -> None:
    holder = ModelHolder(engine, blobs, 1.0, aliases=(registry.CHAMPION, "candidate"))
    write_tiny_model(blobs, engine, TITLES, GENRES)
    write_tiny_model(blobs, engine, TITLES, GENRES, alias="candidate", seed=3)
    holder.refresh()
    with engine.begin() as connection:
        connection.execute(sa.delete(registry.model_aliases))
    holder.refresh()
    assert set(holder.models) == {registry.CHAMPION}


def test_what_experiments_want_is_followed_by_alias_or_version_while_they_want_it(
    engine: sa.Engine, blobs: BlobStore
) -> None:
    wanted: list[str] = []
    holder = ModelHolder(engine, blobs, 1.0, wanted=lambda: wanted)
    champion = write_tiny_model(blobs, engine, TITLES, GENRES)
    candidate = write_tiny_model(blobs, engine, TITLES, GENRES, alias="candidate", seed=3)
    third = write_tiny_model(blobs, engine, TITLES, GENRES, alias=None, seed=4)
    holder.refresh()
    assert holder.versions == {None: champion, registry.CHAMPION: champion}
    wanted += ["candidate", third, "baseline"]
    assert holder.refresh()
    assert {name: holder.versions[name] for name in ("candidate", third)} == {"candidate": candidate, third: third}
    assert holder.refusals == {"baseline": "no model has this alias"}
    wanted.clear()
    holder.refresh()
    assert holder.versions == {None: champion, registry.CHAMPION: champion}
    assert holder.refusals == {}


def test_a_wanted_model_that_is_damaged_is_refused_alone(engine: sa.Engine, blobs: BlobStore) -> None:
    champion = write_tiny_model(blobs, engine, TITLES, GENRES)
    bad = write_tiny_model(blobs, engine, TITLES, GENRES, alias=None, seed=3)
    damage(blobs, bad)
    holder = ModelHolder(engine, blobs, 1.0, wanted=lambda: [bad, "0" * 64])
    holder.refresh()
    assert holder.versions == {None: champion, registry.CHAMPION: champion}
    assert set(holder.refusals) == {bad, "0" * 64}
    assert holder.refusal is None


def test_models_in_memory_are_bounded(engine: sa.Engine, blobs: BlobStore) -> None:
    write_tiny_model(blobs, engine, TITLES, GENRES)
    versions = [write_tiny_model(blobs, engine, TITLES, GENRES, alias=None, seed=seed) for seed in range(1, 11)]
    holder = ModelHolder(engine, blobs, 1.0, wanted=lambda: versions)
    holder.refresh()
    assert len(holder.models) == MAX_MODELS
    assert sorted(holder.refusals) == sorted(versions)[MAX_MODELS - 1 :]


def test_a_model_in_service_stays_though_one_that_comes_before_it_is_wanted(
    engine: sa.Engine, blobs: BlobStore
) -> None:
    versions = sorted(
        write_tiny_model(blobs, engine, TITLES, GENRES, alias=None, seed=seed) for seed in range(1, MAX_MODELS + 1)
    )
    wanted = versions[1:]
    holder = ModelHolder(engine, blobs, 1.0, wanted=lambda: wanted)
    holder.refresh()
    wanted = versions
    holder.refresh()
    assert (sorted(holder.models), list(holder.refusals)) == (versions[1:], versions[:1])
    wanted = versions[:-1]
    holder.refresh()
    assert (sorted(holder.models), holder.refusals) == (versions[:-1], {})


def test_a_model_that_serves_by_another_name_takes_no_further_place(engine: sa.Engine, blobs: BlobStore) -> None:
    versions = [
        write_tiny_model(blobs, engine, TITLES, GENRES, alias=None, seed=seed) for seed in range(1, MAX_MODELS + 1)
    ]
    point_alias(engine, registry.CHAMPION, versions[0])
    point_alias(engine, "candidate", versions[1])
    holder = ModelHolder(engine, blobs, 1.0, wanted=lambda: [*versions, "candidate"])
    holder.refresh()
    assert set(holder.models) == {*versions, registry.CHAMPION, "candidate"}
    assert (len(set(holder.versions.values())), holder.refusals) == (MAX_MODELS, {})


def test_a_model_is_prepared_before_it_serves(engine: sa.Engine, blobs: BlobStore) -> None:
    prepared: list[tuple[RankingModel, RankingModel | None]] = []
    following = ModelHolder(engine, blobs, 1.0, prepare=lambda model: prepared.append((model, following.current)))
    write_tiny_model(blobs, engine, TITLES, GENRES)
    following.refresh()
    assert prepared == [(following.current, None)]


def test_the_thread_follows_the_alias(engine: sa.Engine, blobs: BlobStore) -> None:
    taken = threading.Event()
    holder = ModelHolder(engine, blobs, 0.005, prepare=lambda model: taken.set())
    holder.start()
    version = write_tiny_model(blobs, engine, TITLES, GENRES)
    assert taken.wait(10)
    holder.close()
    assert version_of(holder) == version


def test_a_surprise_at_the_start_does_not_keep_a_model_from_serving_later(
    engine: sa.Engine, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    version = write_tiny_model(blobs, engine, TITLES, GENRES)

    def fail(*_: object) -> RankingModel:
        raise MemoryError("a surprise")

    following = ModelHolder(engine, blobs, refresh_s=0.005)
    with monkeypatch.context() as patch:
        patch.setattr(holder_module, "load_model", fail)
        following.start()
        assert following.current is None
    deadline_s = time.monotonic() + 5
    while version_of(following) != version and time.monotonic() < deadline_s:
        time.sleep(0.01)
    following.close()
    assert version_of(following) == version
    assert "could not be refreshed" in caplog.text
