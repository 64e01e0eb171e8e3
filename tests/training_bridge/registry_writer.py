"""What one of several processes does to the registry at once: import little, so that it starts soon."""

from __future__ import annotations

from multiprocessing.synchronize import Barrier
from pathlib import Path

from serving.models.registry import CHAMPION
from streams.settings import Settings
from streams.stores.blobs import BlobStore
from streams.stores.sql import open_sql
from training_bridge import registry

NOW_MS = 1_700_000_000_000
TURNS = 20


def register_and_promote(state: Path, sql_url: str, version: str, barrier: Barrier) -> None:
    """Register a stored model and promote it again and again, from creating the tables on, beside other processes."""
    engine = open_sql(Settings(state=state, sql_url=sql_url))
    barrier.wait()
    registry.register_stored(engine, BlobStore(state / "blobs"), version, NOW_MS)
    for turn in range(TURNS):
        registry.set_alias(engine, CHAMPION, version, f"turn {turn}", NOW_MS + turn)
    engine.dispose()
