"""A small world for the ranker's tests: members follow chains of titles of one genre."""

from __future__ import annotations

import numpy as np

from training_bridge.ranker.config import RankerConfig
from training_bridge.ranker.interactions import Interactions, build_interactions
from training_bridge.ranker.titles_meta import TitlesMeta, build_titles_meta

START_MS = 1_600_000_000_000
STEP_MS = 3_600_000
SMALL = RankerConfig(history_length=16, table_width=8, samples=60, candidates=20, samples_per_member=5)


def small_world(
    members: int = 40, titles: int = 30, per_member: int = 12, seed: int = 0
) -> tuple[Interactions, TitlesMeta]:
    """Return a log in which title i is mostly followed by i + 1, and what the catalogue says of the titles."""
    rng = np.random.default_rng(seed)
    rows = []
    for member in range(members):
        title = int(rng.integers(titles))
        for step in range(per_member):
            at_ms = START_MS + (member * per_member + step) * STEP_MS
            rows.append((f"m{member}", f"t{title}", "rate", at_ms, float(rng.choice([-1.0, 0.4, 2.0]))))
            title = (title + 1) % titles if rng.random() < 0.8 else int(rng.integers(titles))
    return world_of(rows, titles)


def world_of(rows: list[tuple[str, str, str, int, float]], titles: int) -> tuple[Interactions, TitlesMeta]:
    """Return the log of (member, title, type, time in ms, strength) rows over titles t0, t1, ..."""
    columns = list(zip(*rows, strict=True)) or [(), (), (), (), ()]
    names = [f"t{number}" for number in range(titles)]
    meta = build_titles_meta([["Drama"] if number % 2 else ["Comedy"] for number in range(titles)], [2000] * titles)
    return build_interactions(names, *columns), meta
