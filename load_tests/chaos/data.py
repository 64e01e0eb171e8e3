"""The events of a chaos run: real ones with their real duplicates where the data is there, generated ones otherwise."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Final

from streams.importers.dataset import Dataset
from streams.importers.kuairand import read_kuairand
from streams.simulation.generated import generate_dataset

KUAIRAND: Final = Path(__file__).resolve().parents[3] / "shared" / "data" / "kuairand-pure"
DUPLICATED_SHARE: Final = 0.03
"""Of generated events; KuaiRand has 2.4 %."""


def chaos_dataset(events: int, seed: int, folder: Path = KUAIRAND) -> Dataset:
    """Return about `events` events in which some are delivered twice; the same for the same arguments."""
    if folder.is_dir():
        whole = read_kuairand(folder)
        return Dataset("kuairand", _address(whole.address, events), whole.titles, whole.events[:events])
    generated = generate_dataset(seed, members=max(20, events // 60), events=events)
    rng = random.Random(seed)
    repeated = [event for event in generated.events for _ in range(2 if rng.random() < DUPLICATED_SHARE else 1)]
    return Dataset("generated", _address(generated.address, events), generated.titles, repeated[:events])


def _address(whole: str, events: int) -> str:
    """Return the content address of the first `events` of a whole data set."""
    return hashlib.sha256(f"{whole}/{events}".encode()).hexdigest()
