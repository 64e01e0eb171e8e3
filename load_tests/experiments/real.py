"""What real members did before a moment and after it: KuaiRand and MovieLens beside the project, as far as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streams.events import Event
from streams.importers.dataset import Dataset
from streams.importers.kuairand import read_kuairand
from streams.importers.movielens import read_movielens
from streams.simulation.generated import generate_dataset

DATA: Final = Path(__file__).resolve().parents[3] / "shared" / "data"
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Split:
    """Members' numbers before a moment and from it on, each [members], of everybody who did anything at all."""

    source: str
    numbers: dict[str, tuple[Floats, Floats]]
    is_real: bool = True

    @property
    def members(self) -> int:
        """How many there are."""
        return len(next(iter(self.numbers.values()))[0])


def splits() -> list[Split]:
    """Return one split of each data set that is there; of a generated one if none is."""
    found = []
    if (DATA / "kuairand-pure").is_dir():
        found.append(split(read_kuairand(DATA / "kuairand-pure"), "KuaiRand-Pure"))
    if (DATA / "ml-latest-small").is_dir():
        found.append(split(read_movielens(DATA / "ml-latest-small"), "MovieLens ml-latest-small"))
    if found:
        return found
    generated = split(generate_dataset(members=5_000, events=200_000), "generated (no data set is there)")
    return [replace(generated, is_real=False)]


_NUMBERS: Final[dict[str, Callable[[Event], float]]] = {
    "plays": lambda event: event.type == "play",
    "completes": lambda event: event.type == "complete",
    "watched s": lambda event: (event.value or 0.0) if event.type in {"play", "progress"} else 0.0,
    "likes": lambda event: event.type == "like" or (event.type == "rate" and (event.value or 0.0) >= 4.0),
    "ratings": lambda event: event.type == "rate",
}


def split(dataset: Dataset, source: str) -> Split:
    """Return the members' numbers before and after the moment at which half of the events are past."""
    events = {event.event_id: event for event in dataset.events}.values()
    middle = int(np.median([event.event_time_ms for event in events]))
    member = {name: place for place, name in enumerate(sorted({event.member_id for event in events}))}
    who = np.array([member[event.member_id] for event in events])
    after = np.array([event.event_time_ms >= middle for event in events])
    numbers = {}
    for name, of in _NUMBERS.items():
        each = np.array([float(of(event)) for event in events])
        if each.any():
            before, since = (
                np.bincount(who[part], each[part], len(member)).astype(np.float64) for part in (~after, after)
            )
            numbers[name] = (before, since)
    return Split(source, numbers)
