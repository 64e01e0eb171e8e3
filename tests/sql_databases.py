"""SQL databases of tests: a SQLite file, and a schema of its own on the PostgreSQL server."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import sqlalchemy as sa

from streams.settings import Settings
from streams.stores.sql import open_sql

ENGINES = ("sqlite", "postgresql")


@pytest.fixture(params=ENGINES)
def sql_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, once on each engine; a SQLite file is below the test's state folder."""
    if request.param == "sqlite":
        return "sqlite:marquee.db"
    url: str = request.getfixturevalue("postgres_schema_url")
    return url


@pytest.fixture
def sql_engine(tmp_path: Path, sql_url: str) -> Iterator[sa.Engine]:
    """An engine over an empty database, once on each; the state folder is the test's own."""
    engine = open_sql(Settings(state=tmp_path, sql_url=sql_url))
    yield engine
    engine.dispose()


@pytest.fixture
def postgres_schema_url(postgres_url: str) -> Iterator[str]:
    """The URL of a new schema on the PostgreSQL server, which is dropped afterwards."""
    schema = f"test_{secrets.token_hex(6)}"
    server = open_sql(Settings(sql_url=postgres_url))
    try:
        with server.begin() as connection:
            connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
        yield with_option(postgres_url, f"search_path={schema}")
    finally:
        with server.begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        server.dispose()


def with_option(url: str, option: str) -> str:
    """Return a PostgreSQL URL whose sessions begin with one more server option, such as `search_path=s`."""
    split = sa.make_url(url)
    options = f"{split.query.get('options', '')} -c{option}".strip()
    kept = "&".join(f"{name}={quote(str(value))}" for name, value in {**split.query, "options": options}.items())
    return f"{split.set(query={}).render_as_string(hide_password=False)}?{kept}"


@pytest.fixture
def sql_role(postgres_schema_url: str) -> Iterator[str]:
    """A role of the PostgreSQL server without any rights, dropped afterwards."""
    role = f"test_{secrets.token_hex(6)}"
    server = open_sql(Settings(sql_url=postgres_schema_url))
    with server.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role}")
    yield role
    with server.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {role}")
        connection.exec_driver_sql(f"DROP ROLE {role}")
    server.dispose()
