"""The tables' history: it makes what the code expects, whoever comes first, and takes over what was there."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from serving.models import registry as serving_registry
from streams import catalogue
from streams.errors import FixRequest, MarqueeError, TryAgain
from streams.experiments import tables as experiments
from streams.importers import progress
from streams.settings import Settings
from streams.stores.migrations.upgrade import configuration
from streams.stores.sql import open_sql
from streams.stores.sql_schema import HEAD, migrate, schema_version
from training_bridge import registry

TABLES = (catalogue.metadata, progress.metadata, serving_registry.metadata, experiments.metadata)
"""Of every floor: a floor that gets tables is added here."""

ROOT = Path(__file__).resolve().parents[3]
BEFORE = (Path(__file__).parent / "before_migrations.sql").read_text()


def differences(engine: sa.Engine) -> list[object]:
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), TABLES))


def before_migrations(folder: Path, *, only: str = "") -> sa.Engine:
    """Return an engine over a file of the version before migrations; only: the one table it has."""
    with sqlite3.connect(folder / "marquee.db") as file:
        file.executescript(BEFORE)
        names = [name for (name,) in file.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for name in names:
            if only and name != only:
                file.execute(f"DROP TABLE {name}")
    file.close()
    return open_sql(Settings(state=folder))


def test_every_table_of_the_code_is_in_the_list() -> None:
    packages = [ROOT / name for name in ("streams", "serving", "training_bridge", "marquee")]
    sources = [path for package in packages for path in package.rglob("*.py")]
    assert sum("sa.MetaData()" in path.read_text() for path in sources) == len(TABLES)


def test_the_history_is_one_line_and_its_head_is_the_one_that_the_code_looks_for() -> None:
    script = ScriptDirectory.from_config(configuration())
    assert script.get_current_head() == HEAD  # raises if there are several
    assert [revision.revision for revision in script.walk_revisions()][-1] == "0001"


def test_the_history_makes_what_the_code_expects(sql_engine: sa.Engine) -> None:
    assert schema_version(sql_engine) is None
    migrate(sql_engine)
    assert schema_version(sql_engine) == HEAD
    assert differences(sql_engine) == []


def test_a_difference_would_be_seen(sql_engine: sa.Engine) -> None:
    migrate(sql_engine)
    with sql_engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE titles ADD COLUMN surprise INTEGER")
    assert differences(sql_engine) != []


def test_several_at_once_migrate_once(tmp_path: Path, sql_url: str) -> None:
    engines = [open_sql(Settings(state=tmp_path, sql_url=sql_url)) for _ in range(4)]
    start, failures = threading.Barrier(len(engines)), list[Exception]()

    def run(engine: sa.Engine) -> None:
        start.wait(10)
        try:
            migrate(engine)
        except MarqueeError as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {schema_version(engine) for engine in engines} == {HEAD}
    for engine in engines:
        engine.dispose()


def test_a_file_from_before_migrations_is_taken_over_with_all_it_holds(tmp_path: Path) -> None:
    engine = before_migrations(tmp_path)
    assert list(catalogue.read_catalogue(engine).values()) == [
        catalogue.Title("t1", "Amélie", 2001, ("Comedy", "Romance"), 7320, 1_700_000_001_000)
    ]
    assert progress.ProgressTable(engine).read("a" * 64) == progress.Progress(7, 1, [3, 4], 0)
    assert [(m.version, m.aliases, m.metrics) for m in registry.list_models(engine)] == [
        ("b" * 64, ("champion",), {"ndcg@10": 0.1})
    ]
    assert [change.reason for change in registry.alias_history(engine, "champion")] == ["first"]
    assert (schema_version(engine), differences(engine)) == (HEAD, [])
    engine.dispose()


@pytest.mark.parametrize("only", ["titles", "replays", "model_versions"])
def test_a_file_that_had_some_of_the_tables_gets_the_others(tmp_path: Path, only: str) -> None:
    engine = before_migrations(tmp_path, only=only)
    migrate(engine)
    assert differences(engine) == []
    engine.dispose()


def test_a_database_of_a_newer_version_is_left_alone(sql_engine: sa.Engine) -> None:
    migrate(sql_engine)
    with sql_engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    newer = open_sql(Settings(state=Path(sql_engine.url.database or "").parent, sql_url=_url(sql_engine)))
    with pytest.raises(FixRequest, match=r"9999 of a newer version.*run that version"):
        catalogue.read_catalogue(newer)
    assert schema_version(newer) == "9999"
    newer.dispose()


def test_a_migration_that_fails_leaves_no_half(sql_engine: sa.Engine) -> None:
    with sql_engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE other (x INTEGER)")
        connection.exec_driver_sql("CREATE INDEX model_versions ON other (x)")
    with pytest.raises(TryAgain):
        migrate(sql_engine)
    assert sa.inspect(sql_engine).get_table_names() == ["other"]
    with sql_engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE other")
    migrate(sql_engine)
    assert differences(sql_engine) == []


def test_a_database_that_is_up_to_date_is_used_without_alembic(tmp_path: Path) -> None:
    engine = open_sql(Settings(state=tmp_path))
    migrate(engine)
    engine.dispose()
    code = f"""
import sys
from pathlib import Path
from streams.catalogue import read_catalogue
from streams.settings import Settings
from streams.stores.sql import open_sql
read_catalogue(open_sql(Settings(state=Path({str(tmp_path)!r}))))
print([name for name in ("alembic", "psycopg") if name in sys.modules])
"""
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def _url(engine: sa.Engine) -> str:
    if engine.dialect.name == "sqlite":
        return "sqlite:marquee.db"
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
