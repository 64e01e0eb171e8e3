"""Where agents get the catalogue: the SQL table, read again only when there are new titles."""

from __future__ import annotations

import sqlalchemy as sa

from streams.catalogue import Catalogue, metadata, read_catalogue, titles_table
from streams.errors import TryAgain
from streams.stores.sql import ensure_tables


class CatalogueSource:
    """Call it for the newest catalogue. Raises TryAgain when the database is away. Not thread-safe."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._newest: Catalogue | None = None

    def __call__(self) -> Catalogue:
        try:
            if self._newest is None or self._count() != len(self._newest):
                self._newest = read_catalogue(self._engine)
        except sa.exc.SQLAlchemyError as error:
            raise TryAgain(f"the catalogue cannot be read: {error.__class__.__name__}") from error
        return self._newest

    def _count(self) -> int:
        """Titles are only ever added, so their number says whether there are new ones."""
        ensure_tables(self._engine, metadata)
        with self._engine.connect() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(titles_table)) or 0
