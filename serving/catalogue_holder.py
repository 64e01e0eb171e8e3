"""The catalogue that serving uses now: read from SQL, renewed in the background, kept when SQL is away."""

from __future__ import annotations

import sqlalchemy as sa

from streams.catalogue import Catalogue, count_titles, read_catalogue
from streams.errors import MarqueeError


class CatalogueHolder:
    """Holds the newest catalogue that could be read. `current` is swapped whole, so a reader keeps one view."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self.current = Catalogue(())
        self.problem: str | None = None
        """Why the last refresh failed, None when it did not."""

    def refresh(self) -> bool:
        """Read the catalogue again if titles were added since; return whether `current` changed. Raises nothing:
        a database that is away leaves the last catalogue in place and its reason in `problem`."""
        try:
            changed = len(self.current) == 0 or count_titles(self._engine) != len(self.current)
            if changed:
                self.current = read_catalogue(self._engine)
        except MarqueeError as error:
            self.problem = f"catalogue cannot be read: {error}"
            return False
        self.problem = None
        return changed
