"""The stores as one who reads states sees them, in the generation that serves."""

from __future__ import annotations

from collections.abc import Mapping

from streams.settings import Settings
from streams.stores.generations import GenerationalDurableStore, GenerationalStore, ServingGenerations
from streams.stores.open import open_durable, open_hot
from streams.stores.protocol import DurableStore, StateStore


def open_serving_stores(settings: Settings, versions: Mapping[str, str]) -> tuple[StateStore, DurableStore]:
    """Return the hot and the durable store, for a job that ends sooner than the generation that serves now.

    versions: of this code's features, by kind. Raises TryAgain if neither store can tell which generation serves.
    """
    hot, durable = open_hot(settings), open_durable(settings)
    generations = ServingGenerations(durable, versions, copy=hot)
    generations.refresh()
    return GenerationalStore(hot, generations.names), GenerationalDurableStore(durable, generations.names)
