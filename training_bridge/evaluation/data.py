"""The data that `make eval` measures on."""

from __future__ import annotations

from pathlib import Path

from streams.importers.movielens import read_movielens
from streams.simulation.generated import generate_dataset
from training_bridge.ranker.from_events import interactions_from_events, meta_from_titles
from training_bridge.ranker.interactions import Interactions
from training_bridge.ranker.titles_meta import TitlesMeta

MOVIELENS = Path(__file__).parents[2].parent / "shared" / "data" / "ml-latest-small"


def load(path: Path | None) -> tuple[str, Interactions, TitlesMeta]:
    """Return a name, the interactions and the titles: of the MovieLens folder given, of the one beside the project, or
    generated if neither is there. Raises OSError if a folder was given and cannot be read.
    """
    folder = path or (MOVIELENS if MOVIELENS.is_dir() else None)
    dataset = read_movielens(folder) if folder else generate_dataset()
    return dataset.name, interactions_from_events(dataset.titles, dataset.events), meta_from_titles(dataset.titles)
