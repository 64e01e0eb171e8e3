"""The SQL tables of experiments. A `value` is JSON of a struct; integers that may pass 64 bits are strings in it."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

MAX_EXPERIMENT_CHARACTERS: Final = 64
MAX_VARIANT_CHARACTERS: Final = 64
MAX_SEGMENT_CHARACTERS: Final = 192

metadata = sa.MetaData()

experiments_table = sa.Table(
    "experiments",
    metadata,
    sa.Column("id", sa.String(MAX_EXPERIMENT_CHARACTERS), primary_key=True),
    sa.Column("status", sa.String(16), nullable=False, index=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
)
"""An experiment as it is now: value is a `definition.Experiment`; id, status and revision are in it once more."""

audit_table = sa.Table(
    "experiment_audit",
    metadata,
    sa.Column("n", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("experiment", sa.String(MAX_EXPERIMENT_CHARACTERS), nullable=False, index=True),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.String(128), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("action", sa.String(32), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)
"""Who did what, when and why; a row is never changed. revision: the experiment's after it."""

looks_table = sa.Table(
    "experiment_looks",
    metadata,
    sa.Column("experiment", sa.String(MAX_EXPERIMENT_CHARACTERS), primary_key=True),
    sa.Column("at_ms", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("value", sa.Text, nullable=False),
)
"""Results as they were seen: for results over time, and the looks that group-sequential tests have spent."""

members_table = sa.Table(
    "experiment_members",
    metadata,
    sa.Column("experiment", sa.String(MAX_EXPERIMENT_CHARACTERS), primary_key=True),
    sa.Column("member_id", sa.String(128), primary_key=True, index=True),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
)
"""A member's first exposure and what it has contributed to the aggregates."""

aggregates_table = sa.Table(
    "experiment_aggregates",
    metadata,
    sa.Column("experiment", sa.String(MAX_EXPERIMENT_CHARACTERS), primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("variant", sa.String(MAX_VARIANT_CHARACTERS), primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("stratum", sa.String(16), primary_key=True),
    sa.Column("segment", sa.String(MAX_SEGMENT_CHARACTERS), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
"""Sums over members. day: of the first exposure, since 1970-01-01 UTC. segment: "" for all, or `country=US`."""

positions_table = sa.Table(
    "experiment_positions",
    metadata,
    sa.Column("group_name", sa.String(64), primary_key=True),
    sa.Column("topic", sa.String(128), primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("position", sa.BigInteger, nullable=False),
)
"""How far an agent has come: written with what came of it, in one transaction, so that neither is without the other."""

defaults_table = sa.Table(
    "serving_defaults",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
)
"""One row, of id 1: the `definition.Patch` that shipped experiments have made of what pages do by default."""

keys_table = sa.Table(
    "api_keys",
    metadata,
    sa.Column("key_sha256", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    sa.Column("revoked_at_ms", sa.BigInteger),
)
"""Keys of the HTTP API, by their SHA-256 in hex: the key itself is nowhere kept."""
