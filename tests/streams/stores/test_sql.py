"""SQL engines: what they bound, what their errors say, and that both do the same."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from streams.catalogue import Title, publish_titles, read_catalogue, titles_table
from streams.errors import Corrupt, FixRequest, TryAgain
from streams.importers.progress import replays_table
from streams.settings import Settings
from streams.stores.sql import insert_new, open_sql, reading, upsert, writing
from tests.sql_databases import with_option
from tests.tcp_proxy import TcpProxy

ROW = {"address": "a" * 64, "progress": b"one"}


def rows(engine: sa.Engine) -> list[bytes]:
    with reading(engine) as connection:
        return list(connection.scalars(sa.select(replays_table.c.progress)))


def test_a_row_is_inserted_once_and_replaced_where_that_is_asked_for(sql_engine: sa.Engine) -> None:
    for progress, new in ((b"one", 1), (b"two", 0)):
        with writing(sql_engine) as connection:
            done = connection.execute(insert_new(sql_engine, replays_table), ROW | {"progress": progress})
            assert done.rowcount == new
    assert rows(sql_engine) == [b"one"]
    with writing(sql_engine) as connection:
        connection.execute(upsert(sql_engine, replays_table), ROW | {"progress": b"three"})
    assert rows(sql_engine) == [b"three"]


def test_a_block_that_raises_leaves_nothing(sql_engine: sa.Engine) -> None:
    def write_half() -> None:
        with writing(sql_engine) as connection:
            connection.execute(sa.insert(replays_table), ROW)
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    assert rows(sql_engine) == []


def test_a_row_that_is_there_already_is_another_who_was_first(sql_engine: sa.Engine) -> None:
    with writing(sql_engine) as connection:
        connection.execute(sa.insert(replays_table), ROW)
    with pytest.raises(TryAgain, match="first"), writing(sql_engine) as connection:
        connection.execute(sa.insert(replays_table), ROW)
    assert rows(sql_engine) == [b"one"]


def test_writers_with_one_lock_take_turns_also_after_reading(tmp_path: Path, sql_url: str) -> None:
    start = threading.Barrier(3)

    def count_up() -> None:
        engine = open_sql(Settings(state=tmp_path, sql_url=sql_url))
        start.wait(10)
        for _ in range(20):
            with writing(engine, "counter") as connection:
                stored = connection.scalar(sa.select(replays_table.c.progress)) or b"0"
                connection.execute(upsert(engine, replays_table), ROW | {"progress": b"%d" % (int(stored) + 1)})
        engine.dispose()

    counters = [threading.Thread(target=count_up) for _ in range(3)]
    for counter in counters:
        counter.start()
    for counter in counters:
        counter.join()
    engine = open_sql(Settings(state=tmp_path, sql_url=sql_url))
    assert rows(engine) == [b"60"]
    engine.dispose()


def test_titles_are_read_in_the_same_order_whatever_the_locale_of_the_server(sql_engine: sa.Engine) -> None:
    ids = ["b", "A", "a", "B", "ä", "_", "1", "10", "9"]
    publish_titles(sql_engine, [Title(item_id, "t", 2000, ()) for item_id in ids], 1_000)
    assert list(read_catalogue(sql_engine)) == sorted(ids)


def test_a_title_with_text_that_an_engine_cannot_store_is_refused(sql_engine: sa.Engine) -> None:
    for text in ("a\x00b", "\ud800"):
        with pytest.raises(FixRequest, match="title"):
            publish_titles(sql_engine, [Title("t1", text, 2000, ())], 0)


@pytest.mark.parametrize(
    "url", ["mysql://u:secret@h/d", "postgresql://u:secret@h:port/d", "u:secret@h", "postgresql+asyncpg://u:secret@h/d"]
)
def test_a_url_of_no_known_engine_is_refused_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(FixRequest, match="MARQUEE_SQL_URL") as refused:
        open_sql(Settings(state=tmp_path, sql_url=url))
    assert "secret" not in str(refused.value)


def test_a_password_is_not_shown() -> None:
    settings = Settings(sql_url="postgresql://marquee@127.0.0.1:1/d", sql_password="secret")  # type: ignore[arg-type]
    engine = open_sql(settings)
    assert engine.url.password == "secret"
    assert "secret" not in f"{settings!r}{engine!r}{engine.url}"
    with pytest.raises(TryAgain, match="refused") as away, reading(engine):
        pass
    assert "secret" not in str(away.value)


def test_a_damaged_file_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "marquee.db").write_bytes(b"not a database at all" * 100)
    engine = open_sql(Settings(state=tmp_path))
    with pytest.raises(Corrupt, match="restore"):
        read_catalogue(engine)
    engine.dispose()


def test_tables_that_have_gone_are_made_anew(sql_engine: sa.Engine) -> None:
    publish_titles(sql_engine, [Title("t1", "t", 2000, ())], 0)
    with sql_engine.begin() as connection:
        for table in ("titles", "alembic_version"):
            connection.exec_driver_sql(f"DROP TABLE {table}")
    with pytest.raises(TryAgain, match="lost its tables"):
        read_catalogue(sql_engine)
    assert len(read_catalogue(sql_engine)) == 0


def test_a_server_that_was_away_is_used_again_once_it_is_back(postgres_schema_url: str) -> None:
    url = sa.make_url(postgres_schema_url)
    with TcpProxy(str(url.host), url.port or 5432) as proxy:
        there = url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        engine = open_sql(Settings(sql_url=there, sql_timeout_s=2))
        proxy.cut()
        with pytest.raises(TryAgain, match="away"):
            publish_titles(engine, [Title("t1", "t", 2000, ())], 0)
        proxy.mend()
        assert publish_titles(engine, [Title("t1", "t", 2000, ())], 0) == 1
        proxy.cut()
        with pytest.raises(TryAgain, match="away"):
            read_catalogue(engine)
        proxy.mend()
        assert list(read_catalogue(engine)) == ["t1"]
        with pytest.raises(TryAgain, match="away"):
            write_while_cut_off(engine, proxy)
        proxy.mend()
        assert rows(engine) == []
        engine.dispose()


def test_a_server_that_is_frozen_is_not_waited_for_longer_than_is_said(postgres_schema_url: str) -> None:
    url = sa.make_url(postgres_schema_url)
    with TcpProxy(str(url.host), url.port or 5432) as proxy:
        there = url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        engine = open_sql(Settings(sql_url=there, sql_timeout_s=0.5))
        publish_titles(engine, [Title("t1", "t", 2000, ())], 0)
        proxy.freeze()
        started_s = time.monotonic()
        with pytest.raises(TryAgain, match="away"):
            read_catalogue(engine)
        assert time.monotonic() - started_s < 10  # a ping and a connection; libpq waits 2 s for that at least
        proxy.thaw()
        assert list(read_catalogue(engine)) == ["t1"]
        with pytest.raises(TryAgain, match="not answered"):
            read_while_frozen(engine, proxy)
        proxy.thaw()
        assert list(read_catalogue(engine)) == ["t1"]
        engine.dispose()


def read_while_frozen(engine: sa.Engine, proxy: TcpProxy) -> None:
    with reading(engine) as connection:
        proxy.freeze()
        connection.execute(sa.select(titles_table))


def write_while_cut_off(engine: sa.Engine, proxy: TcpProxy) -> None:
    with writing(engine) as connection:
        connection.execute(sa.insert(replays_table), ROW)
        proxy.cut()
        connection.execute(sa.update(replays_table).values(progress=b"never"))


def test_statements_and_waits_for_a_connection_are_bounded(postgres_schema_url: str) -> None:
    engine = open_sql(Settings(sql_url=postgres_schema_url, sql_pool=1, sql_timeout_s=0.3))
    started_s = time.monotonic()
    with pytest.raises(TryAgain, match="timeout"), reading(engine) as connection:
        connection.execute(sa.select(sa.func.pg_sleep(20)))
    with reading(engine), pytest.raises(TryAgain, match="limit"), reading(engine):
        pass
    assert time.monotonic() - started_s < 10
    engine.dispose()


def test_a_server_shows_who_is_connected(postgres_schema_url: str) -> None:
    engine = open_sql(Settings(sql_url=postgres_schema_url))
    with reading(engine) as connection:
        assert str(connection.scalar(sa.text("SELECT current_setting('application_name')"))).startswith("marquee")
    engine.dispose()


def test_a_role_without_the_right_is_told_what_to_grant(postgres_schema_url: str, sql_role: str) -> None:
    owner = open_sql(Settings(sql_url=postgres_schema_url))
    guest = open_sql(Settings(sql_url=with_option(postgres_schema_url, f"role={sql_role}")))
    with owner.begin() as connection:
        schema = connection.scalar(sa.text("SELECT current_schema()"))
        connection.exec_driver_sql(f"GRANT USAGE ON SCHEMA {schema} TO {sql_role}")
    with pytest.raises(FixRequest, match="marquee db upgrade"):
        read_catalogue(guest)
    publish_titles(owner, [Title("t1", "t", 2000, ())], 0)
    with owner.begin() as connection:
        connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {sql_role}")
    assert list(read_catalogue(guest)) == ["t1"]  # it may not make tables, but need not
    with pytest.raises(FixRequest, match="permission denied"), writing(guest) as connection:
        connection.execute(sa.delete(titles_table))
    owner.dispose()
    guest.dispose()
