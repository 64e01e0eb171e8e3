"""What a training run yields: everything the scorer and the exported graph need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training_bridge.ranker.config import RankerConfig
from training_bridge.ranker.item_table import ItemTable


@dataclass(frozen=True, slots=True)
class ItemTables:
    """What the item-item estimators learned and what the catalogue says: all of the ranker but the combiner, V titles.

    genre_vectors: float32 [V, G]. title_year: int32 [V], position among Y years. year_closeness: float32 [Y, Y].
    release_age_years: float32 [V], when the tables were built. dated: bool [V], whether the release year is known.
    """

    similar: ItemTable
    transitions: ItemTable
    genre_vectors: NDArray[np.float32]
    title_year: NDArray[np.int32]
    year_closeness: NDArray[np.float32]
    release_age_years: NDArray[np.float32]
    dated: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RankerWeights:
    """A trained ranker. coefficients: float32 [S], in the order of signals.signal_parts(config).

    member_features, title_features: the live features it reads, in order. metrics: how the combiner's fit went.
    """

    titles: tuple[str, ...]
    config: RankerConfig
    tables: ItemTables
    coefficients: NDArray[np.float32]
    member_features: tuple[str, ...]
    title_features: tuple[str, ...]
    metrics: Mapping[str, float]
