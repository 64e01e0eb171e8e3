"""Where the warehouse is, by URL."""

from __future__ import annotations

from pathlib import Path

from streams.errors import FixRequest
from streams.settings import Settings


def root_of(settings: Settings) -> Path:
    """Return the folder of `settings.warehouse_url`. Raises FixRequest for an unknown scheme."""
    if settings.scheme_of(settings.warehouse_url) != "file":
        raise FixRequest("MARQUEE_WAREHOUSE_URL", f"{settings.warehouse_url!r} is not a known engine; known is file:")
    return settings.path_of(settings.warehouse_url)
