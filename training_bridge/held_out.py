"""How well models predict a dataset's held-out events, each from its member's state just before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.ranking.model import RankingModel
from training_bridge.dataset import Dataset
from training_bridge.evaluation.metrics import hit_rate, mean_per_member, ndcg
from training_bridge.evaluation.prequential import MIN_HISTORY, Scorer, Task, predict
from training_bridge.model_scorer import ModelScorer, half_lives_of
from training_bridge.ranker.live_state import StateBatch
from training_bridge.ranker.samples import limit_per_member, predictable_positions

TOP = 10
PER_MEMBER = 10
"""Predictions of one member, at most: the mean is per member, and more of the same member adds little to it."""
POPULARITY = "popularity"


class HeldOut(msgspec.Struct, frozen=True):
    """What was measured on `predictions` of `members`. scores: metric by name ("ndcg@10", "hr@10") by model."""

    predictions: int
    members: int
    scores: dict[str, dict[str, float]]

    def ndcg(self, model: str) -> float:
        """Return a model's NDCG@10, nan if it was not measured."""
        return self.scores.get(model, {}).get(f"ndcg@{TOP}", float("nan"))


def evaluate(
    dataset: Dataset, models: Mapping[str, RankingModel], *, max_predictions: int, rng: np.random.Generator
) -> HeldOut:
    """Return how models (by name) and popularity before the split predict a sample of the events after it."""
    half_lives = half_lives_of([model.manifest for model in models.values()])
    history_length = max((model.manifest.history_length for model in models.values()), default=1)
    task = held_out_task(dataset, half_lives, history_length, max_predictions, rng)
    scorers: dict[str, Scorer] = {POPULARITY: Popularity(dataset)}
    for name, model in models.items():
        scorers[name] = ModelScorer(model, dataset.interactions.titles, half_lives)
    ranks = predict(task, scorers)
    members = task.members
    scores = {name: _scores(rank, members) for name, rank in ranks.items()} if len(members) else {}
    return HeldOut(len(members), len(np.unique(members)), scores)


def held_out_task(
    dataset: Dataset,
    half_lives_d: Sequence[int],
    history_length: int,
    max_predictions: int,
    rng: np.random.Generator,
) -> Task:
    """Return the task of predicting at most `max_predictions` events after the split, drawn at random."""
    log, split = dataset.interactions, dataset.manifest.train_rows
    known = np.zeros(len(log.titles), bool)
    known[log.title[:split]] = True
    positions = predictable_positions(log, split, known, MIN_HISTORY)
    positions = limit_per_member(log, positions, PER_MEMBER, rng)
    positions = np.sort(rng.permutation(positions)[:max_predictions])
    return Task(log, dataset.meta, split, known, positions, history_length, tuple(half_lives_d))


class Popularity:
    """Titles by the number of members' first engagements before the split: what a model must beat."""

    def __init__(self, dataset: Dataset) -> None:
        train = dataset.train
        counts = np.bincount(train.title[train.first_engagements()], minlength=len(train.titles))
        self._score = counts.astype(np.float32)

    def __call__(self, states: StateBatch) -> NDArray[np.float32]:
        """Return float32 [B, V], the same row for everyone."""
        return np.repeat(self._score[None, :], len(states.member), axis=0)


def _scores(rank: NDArray[np.float64], members: NDArray[np.int32]) -> dict[str, float]:
    return {
        f"{name}@{TOP}": float(mean_per_member(metric(rank, TOP), members).mean())
        for name, metric in (("ndcg", ndcg), ("hr", hit_rate))
    }
