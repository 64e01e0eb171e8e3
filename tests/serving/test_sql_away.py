"""A PostgreSQL server that goes away: what was read from it stays in service, and follows it again once it is back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from serving.catalogue_holder import CatalogueHolder
from serving.models.holder import ModelHolder
from serving.models.registry import CHAMPION
from streams.agents.catalogue_source import CatalogueSource
from streams.catalogue import Title, publish_titles
from streams.errors import TryAgain
from streams.settings import Settings
from streams.stores.blobs import BlobStore
from streams.stores.sql import open_sql
from tests.serving import tiny_model
from tests.tcp_proxy import TcpProxy

GENRES = ("Comedy", "Drama")
TITLES = [Title(f"t{number}", f"Title {number}", 2000, (GENRES[number % 2],)) for number in range(6)]


@pytest.fixture
def proxy(postgres_schema_url: str) -> Iterator[TcpProxy]:
    url = sa.make_url(postgres_schema_url)
    with TcpProxy(str(url.host), url.port or 5432) as proxy:
        yield proxy


@pytest.fixture
def engine(postgres_schema_url: str, proxy: TcpProxy) -> Iterator[sa.Engine]:
    there = sa.make_url(postgres_schema_url).set(host="127.0.0.1", port=proxy.port)
    engine = open_sql(Settings(sql_url=there.render_as_string(hide_password=False), sql_timeout_s=2))
    yield engine
    engine.dispose()


def test_catalogue_and_model_stay_while_the_server_is_away_and_follow_it_again(
    tmp_path: Path, engine: sa.Engine, proxy: TcpProxy
) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    catalogue, models, source = CatalogueHolder(engine), ModelHolder(engine, blobs, 60.0), CatalogueSource(engine)
    proxy.cut()
    assert not catalogue.refresh()
    assert not models.refresh()
    assert "away" in (catalogue.problem or "")
    assert "away" in (models.refusal or "")
    with pytest.raises(TryAgain):
        source()

    proxy.mend()
    publish_titles(engine, TITLES[:5], 0)
    version = tiny_model.store_tiny_model(blobs, TITLES[:5], GENRES)
    tiny_model.register(engine, version)
    tiny_model.point_alias(engine, CHAMPION, version)
    assert catalogue.refresh()
    assert models.refresh()
    assert (len(source()), catalogue.problem, models.refusal) == (5, None, None)

    proxy.cut()
    assert not catalogue.refresh()
    assert not models.refresh()
    assert len(catalogue.current) == 5
    assert models.current is not None
    assert models.current.version == version
    with pytest.raises(TryAgain, match="catalogue cannot be read"):
        source()

    proxy.mend()
    publish_titles(engine, TITLES, 0)
    assert catalogue.refresh()
    assert len(source()) == len(catalogue.current) == 6
