"""The events of a chaos run: real ones with their real duplicates where the data is there, generated ones otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from streams.simulation.history import generate_catalogue, generate_history

from streams.importers.dataset import Dataset
from streams.importers.kuairand import read_kuairand

KUAIRAND: Final = Path(__file__).resolve().parents[3] / "shared" / "data" / "kuairand-pure"
DUPLICATED_SHARE: Final = 0.03
"""Of generated events; KuaiRand has 2.4 %."""
END_MS: Final = 1_760_000_000_000


def chaos_dataset(events: int, seed: int, folder: Path = KUAIRAND) -> Dataset:
    """Return about `events` events in which some are delivered twice; the same for the same arguments."""
    if folder.is_dir():
        whole = read_kuairand(folder)
        return Dataset("kuairand", f"{whole.address}-{events}", whole.titles, whole.events[:events])
    rng = np.random.default_rng(seed)
    titles = generate_catalogue(rng)
    history = generate_history(rng, titles, max(20, events // 60), events, END_MS)
    repeated = [event for event in history for _ in range(2 if rng.random() < DUPLICATED_SHARE else 1)]
    return Dataset("generated", f"generated-{seed}-{events}", titles, repeated[:events])
