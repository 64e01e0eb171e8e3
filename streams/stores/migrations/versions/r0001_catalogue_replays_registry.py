"""Catalogue, progress of replays, model registry. Tables made before there were migrations are left as they are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables that are not there."""
    op.create_table(
        "titles",
        sa.Column("item_id", sa.String(128), primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("year", sa.Integer, nullable=False),
        sa.Column("genres", sa.Text, nullable=False),
        sa.Column("duration_s", sa.Integer, nullable=False),
        sa.Column("live_from_ms", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_index("ix_titles_live_from_ms", "titles", ["live_from_ms"], if_not_exists=True)
    op.create_table(
        "replays",
        sa.Column("address", sa.String(64), primary_key=True),
        sa.Column("progress", sa.LargeBinary, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "model_versions",
        sa.Column("version", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("run", sa.String(256), nullable=False),
        sa.Column("dataset", sa.String(64), nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("registered_at_ms", sa.BigInteger, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "model_aliases",
        sa.Column("alias", sa.String(64), primary_key=True),
        sa.Column("version", sa.String(64), sa.ForeignKey("model_versions.version"), nullable=False),
        sa.Column("set_at_ms", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        if_not_exists=True,
    )
    op.create_table(
        "alias_changes",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("previous", sa.String(64)),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("set_at_ms", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        if_not_exists=True,
    )
