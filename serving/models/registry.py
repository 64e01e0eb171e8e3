"""The model registry as serving reads it: versions, and the aliases that say which one serves.

A version is the sha256 of a manifest; manifests and model files are blobs. Promotion is one write of an alias.
"""

from __future__ import annotations

import sqlalchemy as sa

from streams.stores.sql import reading

metadata = sa.MetaData()

model_versions = sa.Table(
    "model_versions",
    metadata,
    sa.Column("version", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("run", sa.String(256), nullable=False),
    sa.Column("dataset", sa.String(64), nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("registered_at_ms", sa.BigInteger, nullable=False),
)

model_aliases = sa.Table(
    "model_aliases",
    metadata,
    sa.Column("alias", sa.String(64), primary_key=True),
    sa.Column("version", sa.ForeignKey("model_versions.version"), nullable=False),
    sa.Column("set_at_ms", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

alias_changes = sa.Table(
    "alias_changes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("alias", sa.String(64), nullable=False),
    sa.Column("previous", sa.String(64)),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("set_at_ms", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

CHAMPION = "champion"


def aliased_version(engine: sa.Engine, alias: str) -> str | None:
    """Return the version that an alias points to, None if it is not set. Raises TryAgain when the database is away."""
    with reading(engine) as connection:
        return connection.scalar(sa.select(model_aliases.c.version).where(model_aliases.c.alias == alias))
