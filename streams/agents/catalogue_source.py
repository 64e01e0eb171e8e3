"""Where agents get the catalogue: the SQL table, read again only when there are new titles."""

from __future__ import annotations

import sqlalchemy as sa

from streams.catalogue import Catalogue, count_titles, read_catalogue
from streams.errors import Corrupt, TryAgain


class CatalogueSource:
    """Call it for the newest catalogue. Raises TryAgain when the database is away. Not thread-safe."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._newest: Catalogue | None = None

    def __call__(self) -> Catalogue:
        try:
            if self._newest is None or count_titles(self._engine) != len(self._newest):
                self._newest = read_catalogue(self._engine)
        except (TryAgain, Corrupt) as error:  # a damaged file is waited for, too: somebody restores it
            raise TryAgain(f"the catalogue cannot be read: {error}") from error
        return self._newest
