"""Keys: shown once, kept as hashes, each with a role, and let in until they are revoked."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from serving.experiments.key_files import first_key_path, key_for, make_first_key, read_key
from serving.experiments.refusals import Conflict
from serving.experiments.roles import ROLES, Actor, add_key, find_actor, list_keys, new_key, revoke_key
from streams.errors import FixRequest
from streams.settings import Settings
from streams.stores.sql import open_sql


def test_a_key_lets_its_owner_in_until_it_is_revoked(sql_engine: sa.Engine) -> None:
    key = new_key()
    assert find_actor(sql_engine, key) is None
    add_key(sql_engine, key, "dashboard", "viewer", 1)
    assert find_actor(sql_engine, key) == Actor("dashboard", "viewer")
    assert find_actor(sql_engine, f"{key}x") is None
    revoked = revoke_key(sql_engine, "dashboard", 2)
    assert find_actor(sql_engine, key) is None
    add_key(sql_engine, key, "dashboard", "viewer", 3)
    assert find_actor(sql_engine, key) is None
    assert [(k.id, k.created_at_ms, k.revoked_at_ms) for k in list_keys(sql_engine)] == [(revoked.id, 1, 2)]


def test_the_database_holds_no_key(sql_engine: sa.Engine) -> None:
    key = new_key()
    add_key(sql_engine, key, "ann", "approver", 1)
    with sql_engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM api_keys").all()
    assert key not in str(rows)
    assert len(key) > 40
    assert new_key() != key


def test_each_role_may_do_what_those_before_it_may() -> None:
    may = {mine: [role for role in ROLES if Actor("x", mine).may(role)] for mine in ROLES}
    assert may == {"viewer": ["viewer"], "editor": ["viewer", "editor"], "approver": list(ROLES)}
    assert Actor("watcher", "system").may("approver")


def test_a_live_key_has_a_name_of_its_own(sql_engine: sa.Engine) -> None:
    add_key(sql_engine, new_key(), "ann", "editor", 1)
    with pytest.raises(Conflict, match="'ann' already"):
        add_key(sql_engine, new_key(), "ann", "approver", 2)
    revoke_key(sql_engine, "ann", 3)
    add_key(sql_engine, new_key(), "ann", "approver", 4)
    with pytest.raises(FixRequest, match="no live key"):
        revoke_key(sql_engine, "ben", 5)


@pytest.mark.parametrize(
    ("name", "role", "field"), [("ann", "boss", "role"), ("", "editor", "name"), ("a\n", "editor", "name")]
)
def test_a_role_or_name_that_is_none_is_refused(sql_engine: sa.Engine, name: str, role: str, field: str) -> None:
    with pytest.raises(FixRequest) as raised:
        add_key(sql_engine, new_key(), name, role, 1)
    assert raised.value.field == field


def test_a_platform_starts_with_a_key_that_only_its_owner_can_read(tmp_path: Path, sql_url: str) -> None:
    settings = Settings(state=tmp_path, sql_url=sql_url)
    engine = open_sql(settings)
    path = make_first_key(settings, engine, 1)
    key = read_key(path)
    assert path == first_key_path(settings) == tmp_path / "keys" / "approver.key"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [(p.name) for p in path.parent.iterdir()] == ["approver.key"]
    actor = find_actor(engine, key)
    assert actor is not None
    assert actor.role == "approver"
    make_first_key(settings, engine, 2)
    assert read_key(path) == key
    assert len(list_keys(engine)) == 1
    with engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM api_keys")
    make_first_key(settings, engine, 3)
    assert find_actor(engine, key) == actor
    path.unlink()
    assert read_key(path) == ""
    make_first_key(settings, engine, 4)
    assert find_actor(engine, read_key(path)) is not None
    engine.dispose()


def test_a_first_key_that_was_revoked_stays_so(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path)
    engine = open_sql(settings)
    key = read_key(make_first_key(settings, engine, 1))
    revoke_key(engine, list_keys(engine)[0].id, 2)
    make_first_key(settings, engine, 3)
    assert find_actor(engine, key) is None
    engine.dispose()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    settings = Settings(state=tmp_path)
    (tmp_path / "keys").write_text("a file")
    engine = open_sql(settings)
    with pytest.raises(FixRequest, match=r"approver\.key"):
        make_first_key(settings, engine, 1)
    engine.dispose()


@pytest.mark.parametrize("host", ["elsewhere.example", "127.0.0.1.elsewhere.example", "localhost@elsewhere.example"])
def test_the_first_key_is_sent_to_no_other_machine_unasked(tmp_path: Path, sql_engine: sa.Engine, host: str) -> None:
    settings = Settings(state=tmp_path)
    key = read_key(make_first_key(settings, sql_engine, 1))
    assert key_for(settings, "http://localhost:8000") == key
    assert key_for(settings, f"https://{host}:8000") == ""
