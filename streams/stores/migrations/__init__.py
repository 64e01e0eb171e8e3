"""The history of the SQL database's tables, as Alembic keeps it."""
