"""Who may do what: keys of the API, each with a role. Of a key only its SHA-256 is kept: it is shown once."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Final, Literal, get_args

import msgspec
import sqlalchemy as sa

from serving.experiments.refusals import Conflict
from streams.errors import FixRequest
from streams.events import is_valid_id
from streams.experiments.tables import keys_table
from streams.stores.sql import insert_new, reading, writing

Role = Literal["viewer", "editor", "approver"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
"""Each may do what those before it may: viewers read, editors draft, start and stop, approvers decide and ship."""

PREFIX: Final = "mq_"
"""So that a key is known for one wherever it turns up, and scanners of secrets can look for it."""

KEY_BYTES: Final = 32
MAX_KEYS: Final = 1_000
LOCK: Final = "api-keys"
_HEX: Final = 12
"""Digits of the hash that name a key where it is listed or revoked."""


class Actor(msgspec.Struct, frozen=True):
    """Who acts: a key's name and role; of the platform's own processes the role is `system`."""

    name: str
    role: Role | Literal["system"]

    def may(self, role: Role) -> bool:
        """Return whether the actor has this role or one above it."""
        return self.role == "system" or ROLES.index(self.role) >= ROLES.index(role)


class Key(msgspec.Struct, frozen=True):
    """A key as it is listed. id: the start of its hash."""

    id: str
    name: str
    role: Role
    created_at_ms: int
    revoked_at_ms: int | None = None


def new_key() -> str:
    """Return a key that nobody can guess: 256 bits from the operating system."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def hash_of(key: str) -> str:
    """Return what is kept of a key. It has 256 random bits, so that a fast hash cannot be turned back."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def add_key(engine: sa.Engine, key: str, name: str, role: str, now_ms: int) -> None:
    """Let a key in from now on; one that is known stays as it is (revoked, too).

    Raises FixRequest for a bad name or role, Conflict where a live key has the name; TryAgain as all here.
    """
    if role not in ROLES:
        raise FixRequest("role", f"choose one of {', '.join(ROLES)}")
    if not is_valid_id(name):
        raise FixRequest("name", "say in 1 to 128 bytes, without control characters, who or what uses the key")
    row = {"key_sha256": hash_of(key), "name": name, "role": role, "created_at_ms": now_ms}
    with writing(engine, LOCK) as connection:
        live = connection.execute(sa.select(keys_table).where(keys_table.c.revoked_at_ms.is_(None))).all()
        if any(other.name == name and other.key_sha256 != row["key_sha256"] for other in live):
            raise Conflict("name", f"a key is named {name!r} already; revoke it, or choose another name")
        if len(live) >= MAX_KEYS:
            raise Conflict("name", f"there are {MAX_KEYS} keys; revoke what is not used")
        connection.execute(insert_new(engine, keys_table), row)


def list_keys(engine: sa.Engine) -> list[Key]:
    """Return all keys, the newest first, revoked ones too. Raises TryAgain when the database is away."""
    with reading(engine) as connection:
        rows = connection.execute(sa.select(keys_table).order_by(keys_table.c.created_at_ms.desc(), keys_table.c.name))
        return [_key(row) for row in rows]


def revoke_key(engine: sa.Engine, name: str, now_ms: int) -> Key:
    """Let a key in no more from the next request on, by its name or id. Raises FixRequest if no live one is."""
    with writing(engine, LOCK) as connection:
        rows = connection.execute(sa.select(keys_table).where(keys_table.c.revoked_at_ms.is_(None))).all()
        found = next((row for row in rows if name in (row.name, row.key_sha256[:_HEX])), None)
        if found is None:
            raise FixRequest("name", f"no live key has the name or id {name[:128]!r}; `marquee keys list` shows all")
        change = sa.update(keys_table).where(keys_table.c.key_sha256 == found.key_sha256)
        connection.execute(change.values(revoked_at_ms=now_ms))
        return msgspec.structs.replace(_key(found), revoked_at_ms=now_ms)


def find_actor(engine: sa.Engine, key: str) -> Actor | None:
    """Return whose key this is, None if it lets nobody in. Raises TryAgain when the database is away."""
    live = sa.and_(keys_table.c.key_sha256 == hash_of(key), keys_table.c.revoked_at_ms.is_(None))
    with reading(engine) as connection:
        row = connection.execute(sa.select(keys_table).where(live)).first()
    return None if row is None or row.role not in ROLES else Actor(row.name, row.role)


def _key(row: sa.Row[Any]) -> Key:
    return Key(row.key_sha256[:_HEX], row.name, row.role, row.created_at_ms, row.revoked_at_ms)
