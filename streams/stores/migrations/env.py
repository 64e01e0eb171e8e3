"""What Alembic runs to migrate: the connection is the caller's, in a transaction that the caller ends."""

from __future__ import annotations

from alembic import context


def run() -> None:
    """Run the migrations that were asked for on the connection in the configuration's attributes."""
    context.configure(connection=context.config.attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()


run()
