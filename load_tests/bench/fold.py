"""How fast the fold is: `python -m load_tests.bench.fold [MovieLens folder]`.

Measured beside a bare loop that only decodes the same events, in turns, on CPU time; of each the best turn counts,
because whatever else the machine does can only add. Without a folder the events are generated.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from streams.events import Event, decode_event, encode_event
from streams.features.replay import PartitionStates

TURNS: Final = 7
GENERATED_EVENTS: Final = 50_000
GENERATED_MEMBERS: Final = 500
GENERATED_TITLES: Final = 5_000
START_MS: Final = 1_600_000_000_000
FIRST_POSITION: Final = 1 << 48


class Sample(NamedTuple):
    """Events as decoded, with their titles' genres, and as on the wire."""

    name: str
    events: Sequence[Event]
    genres: Sequence[tuple[str, ...]]
    raw: Sequence[bytes]


class Rates(NamedTuple):
    """Events a second of one core: the fold of member and title state, and the bare loop that decodes."""

    fold: float
    decode: float


def measure(sample: Sample, turns: int = TURNS) -> Rates:
    """Return the best rates of `turns` turns."""
    gc.collect()
    gc.freeze()  # the events are not the fold's: a collector that looks at them again and again measures something else
    try:
        pairs = [(_seconds(_fold, sample), _seconds(_decode, sample)) for _ in range(turns)]
    finally:
        gc.unfreeze()
    fold_s, decode_s = (min(column) for column in zip(*pairs, strict=True))
    return Rates(len(sample.events) / fold_s, len(sample.events) / decode_s)


def _seconds(work: Callable[[Sample], object], sample: Sample) -> float:
    started_s = time.process_time()
    made = work(sample)
    seconds = time.process_time() - started_s
    del made  # freeing what was made is not part of making it
    return seconds


def _fold(sample: Sample) -> PartitionStates:
    states = PartitionStates()
    fold_event = states.fold_event
    position = FIRST_POSITION
    for event, genres in zip(sample.events, sample.genres, strict=True):
        fold_event(event, genres, position)
        position += 1
    return states


def _decode(sample: Sample) -> None:
    for raw in sample.raw:
        decode_event(raw)


def movielens_sample(folder: Path) -> Sample:
    """Return the ratings of a MovieLens folder."""
    from streams.importers.movielens import read_movielens

    dataset = read_movielens(folder)
    genres = {title.item_id: title.genres for title in dataset.titles}
    return _sample("MovieLens", dataset.events, [genres[event.item_id] for event in dataset.events])


def generated_sample(count: int = GENERATED_EVENTS, seed: int = 1) -> Sample:
    """Return plays by members who come back now and then, of titles of which some are played far more than others."""
    rng = Random(seed)
    kinds = ("view", "click", "play", "progress", "complete", "rate", "like", "skip")
    events = [
        Event(
            event_id=f"generated-{number}",
            type=rng.choice(kinds),  # type: ignore[arg-type]  # these are event types
            member_id=f"m{int(rng.paretovariate(1.0)) % GENERATED_MEMBERS}",
            event_time_ms=START_MS + number * 20_000 + rng.randrange(20_000),
            item_id=f"t{int(10 * rng.paretovariate(0.7)) % GENERATED_TITLES}",
            value=4.0,
        )
        for number in range(count)
    ]
    shelf = [("Drama",), ("Comedy", "Romance"), ("Action", "Thriller", "Crime")]
    return _sample("generated", events, [shelf[len(event.item_id) % len(shelf)] for event in events])


def _sample(name: str, events: Sequence[Event], genres: Sequence[tuple[str, ...]]) -> Sample:
    raw = [encode_event(event) for event in events]
    return Sample(name, [decode_event(line) for line in raw], genres, raw)


def main(arguments: Sequence[str]) -> None:
    """Print the rates of one sample."""
    sample = movielens_sample(Path(arguments[0])) if arguments else generated_sample()
    rates = measure(sample)
    sys.stdout.write(
        f"{sample.name}, {len(sample.events):,} events\n"
        f"fold alone        {rates.fold:>10,.0f} events/s  {1e6 / rates.fold:6.2f} us\n"
        f"decode alone      {rates.decode:>10,.0f} events/s  {1e6 / rates.decode:6.2f} us  (limit)\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
