"""What a training run works with: the registry's database, the blobs, the warehouse and a scratch folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from streams.errors import FixRequest
from streams.settings import Settings
from streams.stores.blobs import BlobStore
from streams.stores.sql import open_sql

SCRATCH_KEPT_S: Final = 7 * 86_400
"""How long a failed run's scratch folder stays, so that the run can be resumed."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The engines of a training run, opened. scratch: holds a folder a run, gone when the run ends well."""

    sql: sa.Engine
    blobs: BlobStore
    warehouse: Path
    scratch: Path

    def scratch_blobs(self, run: str) -> BlobStore:
        """Return a blob store for what only this run needs."""
        return BlobStore(self.scratch / run)

    def drop_scratch(self, run: str, now_ms: int) -> None:
        """Remove a run's scratch folder, and those that failed runs left behind long ago."""
        shutil.rmtree(self.scratch / run, ignore_errors=True)
        for folder in self.scratch.glob("*"):
            if now_ms / 1_000 - folder.stat().st_mtime > SCRATCH_KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def open_workspace(settings: Settings) -> Iterator[Workspace]:
    """Yield the workspace that the settings name; its database connections are closed after. Raises FixRequest."""
    for name, url in (("WAREHOUSE", settings.warehouse_url), ("BLOBS", settings.blobs_url)):
        if settings.scheme_of(url) != "file":
            raise FixRequest(f"MARQUEE_{name}_URL", f"{url!r} is not a known engine; known is file:")
    engine = open_sql(settings)
    blobs = BlobStore(settings.path_of(settings.blobs_url))
    try:
        yield Workspace(engine, blobs, settings.path_of(settings.warehouse_url), settings.state / "training")
    finally:
        engine.dispose()
