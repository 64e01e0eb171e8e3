"""A generated data set: a catalogue and the past of its members, by seed."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np

from streams.importers.dataset import Dataset
from streams.simulation.catalogue import generate_catalogue
from streams.simulation.history import generate_history
from streams.simulation.tastes import World

TITLES: Final = 2_400
MEMBERS: Final = 600
EVENTS: Final = 60_000
SEED: Final = 1
END_MS: Final = 1_767_225_600_000
"""2026-01-01: the past is generated up to here, whenever, and shifted to now when it is replayed."""
VERSION: Final = 1
"""Raised when the same seed gives another data set."""


def generate_dataset(
    seed: int = SEED, titles: int = TITLES, members: int = MEMBERS, events: int = EVENTS, end_ms: int = END_MS
) -> Dataset:
    """Return a generated data set; the same arguments give the same one."""
    rng = np.random.default_rng(seed)
    catalogue = generate_catalogue(rng, titles)
    history = generate_history(rng, catalogue, members, events, end_ms, World(seed))
    source = f"generated/{VERSION}/{seed}/{titles}/{members}/{events}/{end_ms}"
    return Dataset("generated", hashlib.sha256(source.encode()).hexdigest(), catalogue, history)
