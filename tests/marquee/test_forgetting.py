"""Forgetting a member: what goes, which models are named, and what is said of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from marquee.forgetting import forget, forgotten_lines
from serving.models.manifest import encode_manifest
from serving.models.registry import CHAMPION
from streams import topics
from streams.errors import FixRequest, TryAgain
from streams.event_log.open import open_event_log
from streams.event_log.protocol import Message
from streams.settings import Settings
from streams.stores.blobs import BlobStore
from streams.stores.open import open_durable
from streams.stores.protocol import Profile
from streams.stores.sql import open_sql
from tests.serving import tiny_model
from tests.training_bridge.records import GENRES, made_events, made_titles, place, record, table
from tests.training_bridge.warehouse import store
from training_bridge import registry
from training_bridge.dataset import build_dataset
from training_bridge.dataset_manifest import DatasetParameters, encode_dataset_manifest

NOW_MS = 1_700_000_000_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state=tmp_path, log_sync=False)


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    engine = open_sql(settings)
    yield engine
    engine.dispose()


def register(settings: Settings, engine: sa.Engine, dataset: str, seed: int) -> str:
    """Return the version of a registered model that was trained on a dataset."""
    blobs = BlobStore(settings.path_of(settings.blobs_url))
    manifest = registry.verify(blobs, tiny_model.store_tiny_model(blobs, made_titles(6), GENRES, seed=seed))
    version = blobs.put(encode_manifest(msgspec.structs.replace(manifest, dataset=dataset)))
    return registry.register_stored(engine, blobs, version, NOW_MS + seed)


def dataset_of(settings: Settings, rows: list[dict[str, object]]) -> str:
    manifest = build_dataset(table(rows), made_titles(), DatasetParameters()).manifest
    return BlobStore(settings.path_of(settings.blobs_url)).put(encode_dataset_manifest(manifest))


def test_the_models_trained_on_a_member_are_named_once_and_no_others(settings: Settings, engine: sa.Engine) -> None:
    events = made_events(200, members=5)
    store(settings, events)
    others = [
        row for row in events if row["partition"] != next(e["partition"] for e in events if e["member_id"] == "m3")
    ]
    trained = register(settings, engine, dataset_of(settings, events), 0)
    register(settings, engine, dataset_of(settings, others), 1)
    unknown = register(settings, engine, "f" * 64, 2)
    registry.set_alias(engine, CHAMPION, trained, "first", NOW_MS)
    count = sum(row["member_id"] == "m3" for row in events)

    done = forget(settings, "m3")
    assert done.removed.warehouse_rows == count > 0
    assert [tuple(model) for model in done.models] == [(unknown, (), None), (trained, (CHAMPION,), count)]
    lines = forgotten_lines(done, settings.log_retention_ms)
    assert f"model {trained[:12]} (champion) was trained on them: {count} of their events" in lines
    assert f"model {unknown[:12]} was trained on them: perhaps, its dataset is not kept" in lines
    assert lines[-1] == "`marquee train` makes a model without them"

    again = forget(settings, "m3")
    assert (again.removed, again.models) == ((0, 0, 0), [])


def test_a_member_whom_no_model_knows_is_removed_without_a_word_of_models(settings: Settings) -> None:
    store(settings, place([record("e1", "other", "t1", NOW_MS)]))
    durable = open_durable(settings)
    durable.put_profiles([Profile("m1")])
    durable.close()
    done = forget(settings, "m1")
    assert (done.removed.rows, done.models, done.unwritten) == (1, [], 0)
    assert len(forgotten_lines(done, 86_400_000)) == 2


def test_records_that_the_warehouse_has_not_got_yet_are_told_of(settings: Settings) -> None:
    log = open_event_log(settings)
    log.append(topics.MEMBER_EVENTS, [Message(b"m1", b"{}")] * 2)
    log.close()
    done = forget(settings, "m1")
    assert done.unwritten == 2
    assert "2 records yet to write: run this again" in forgotten_lines(done, 0)[1]


def test_exposures_that_are_not_counted_yet_are_told_of(settings: Settings) -> None:
    log = open_event_log(settings)
    log.append(topics.EXPOSURES, [Message(b"m1", b"{}")] * 3)
    log.close()
    done = forget(settings, "m1")
    assert done.uncounted == 3
    assert any("3 exposures yet to count: run this again" in line for line in forgotten_lines(done, 0))


def test_nothing_is_removed_while_the_models_cannot_be_named(settings: Settings) -> None:
    events = made_events(50, members=2)
    store(settings, events)
    away = settings.model_copy(update={"sql_url": "postgresql://marquee@127.0.0.1:1/marquee"})
    with pytest.raises(TryAgain):
        forget(away, "m1")
    assert forget(settings, "m1").removed.warehouse_rows > 0


def test_what_is_no_id_is_refused(settings: Settings) -> None:
    with pytest.raises(FixRequest, match="member"):
        forget(settings, "")
