"""A small real champion for a chaos run, so that pages are fresh ones: trained on the first of its own events."""

from __future__ import annotations

import time
from typing import Final

import numpy as np

from serving.models.registry import CHAMPION
from streams.importers.dataset import Dataset
from streams.settings import Settings
from streams.stores.blobs import BlobStore
from streams.stores.sql import open_sql
from training_bridge.packaging import no_neighbours, store_model
from training_bridge.ranker.from_events import interactions_from_events, meta_from_titles
from training_bridge.ranker.training import train
from training_bridge.registry import register_stored, set_alias

TRAINED_EVENTS: Final = 2_000


def put_champion(settings: Settings, dataset: Dataset) -> str:
    """Train, store and register a model, and make it champion; return its version."""
    events = dataset.events[:TRAINED_EVENTS]
    weights = train(
        interactions_from_events(dataset.titles, events),
        meta_from_titles(dataset.titles),
        now_ms=events[-1].event_time_ms,
        rng=np.random.default_rng(1),
    )
    blobs, engine, now_ms = BlobStore(settings.path_of(settings.blobs_url)), open_sql(settings), time.time_ns() // 10**6
    neighbours = no_neighbours(len(weights.titles))
    made = store_model(
        blobs, weights, neighbours, metrics={}, dataset=dataset.address, run="chaos", created_at_ms=now_ms
    )
    version = register_stored(engine, blobs, made, now_ms)
    set_alias(engine, CHAMPION, version, "the champion of a chaos run", now_ms)
    engine.dispose()
    return version
