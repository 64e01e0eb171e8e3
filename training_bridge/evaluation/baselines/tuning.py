"""Strong baselines: parameters chosen on the end of the training events, the recency window on the test itself.

The window's choice favours the baselines, on purpose: nobody can say that a better one was left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training_bridge.evaluation.baselines.ease import fit_ease
from training_bridge.evaluation.baselines.history_model import HistoryModel, WindowedScorer
from training_bridge.evaluation.baselines.ials import fit_ials
from training_bridge.evaluation.baselines.item_knn import fit_item_knn
from training_bridge.evaluation.baselines.popularity import Popularity
from training_bridge.evaluation.baselines.window import WINDOWS, Window
from training_bridge.evaluation.metrics import mean_per_member, ndcg
from training_bridge.evaluation.prequential import Scorer, Task, make_task, predict, some_predictions
from training_bridge.ranker.interactions import Interactions

Fit = Callable[[Interactions], HistoryModel]

VALIDATION_SHARE: Final = 0.8
VALIDATION_PER_MEMBER: Final = 8
WINDOW_PER_MEMBER: Final = 15
"""Predictions of each member on which a window is chosen; the measurement itself uses all."""
VALIDATION_WINDOWS: Final = tuple(window for window in WINDOWS if window.name in {"last 3", "last 20", "fading"})

GRIDS: Final[Mapping[str, Mapping[str, Fit]]] = {
    "item-kNN": {
        f"k {k}, shrink {shrinkage:g}": partial(fit_item_knn, neighbours=k, shrinkage=shrinkage)
        for k in (50, 200)
        for shrinkage in (5.0, 20.0, 100.0)
    },
    "EASE": {f"l2 {l2:g}": partial(fit_ease, l2=l2) for l2 in (30.0, 100.0, 300.0, 1_000.0)},
    "iALS": {
        f"rank {rank}, alpha {alpha:g}, l2 {l2:g}": partial(fit_ials, rank=rank, alpha=alpha, l2=l2)
        for rank in (32, 64)
        for alpha in (1.0, 5.0, 20.0)
        for l2 in (1.0, 10.0)
    },
}


@dataclass(frozen=True, slots=True)
class Tuned:
    """A baseline ready to be measured, and what was chosen for it."""

    scorer: Scorer
    choice: str


def tuned_history_model(task: Task, fits: Mapping[str, Fit], rng: np.random.Generator) -> Tuned:
    """Return the baseline with the parameters best on the training part and the window best on the test."""
    chosen = best_parameters(task, fits, rng)
    model = fits[chosen](task.training)
    window = best_window(task, model, WINDOWS, rng)
    return Tuned(WindowedScorer(model, window), f"{chosen}; {window.name}")


def best_parameters(task: Task, fits: Mapping[str, Fit], rng: np.random.Generator) -> str:
    """Return which of the fits predicts the end of the training part best, each with its best window."""
    validation = make_task(
        task.training,
        task.meta,
        VALIDATION_SHARE,
        history_length=task.history_length,
        half_lives_d=task.half_lives_d[:1],
    )
    validation = some_predictions(validation, VALIDATION_PER_MEMBER, rng)
    if not len(validation.positions):
        return next(iter(fits))
    quality: dict[str, float] = {}
    for name, fit in fits.items():
        model = fit(validation.training)
        scorers: dict[str, Scorer] = {window.name: WindowedScorer(model, window) for window in VALIDATION_WINDOWS}
        quality[name] = max(mean_ndcg(validation, rank) for rank in predict(validation, scorers).values())
    return max(quality, key=quality.__getitem__)


def best_window(task: Task, model: HistoryModel, windows: tuple[Window, ...], rng: np.random.Generator) -> Window:
    """Return the window best on the test's own predictions."""
    some = some_predictions(replace_clocks(task), WINDOW_PER_MEMBER, rng)
    found = predict(some, {window.name: WindowedScorer(model, window) for window in windows})
    best = max(found, key=lambda name: mean_ndcg(some, found[name]))
    return next(window for window in windows if window.name == best)


def best_recent_popularity(task: Task, rng: np.random.Generator) -> Tuned:
    """Return popularity by the clock best on the test's own predictions, the last and slowest aside."""
    some = some_predictions(task, WINDOW_PER_MEMBER, rng)
    clocks = range(len(task.half_lives_d) - 1)
    found = predict(some, {str(clock): Popularity(clock) for clock in clocks})
    best = max(clocks, key=lambda clock: mean_ndcg(some, found[str(clock)]))
    return Tuned(Popularity(best), f"half-life {task.half_lives_d[best]} d")


def replace_clocks(task: Task) -> Task:
    """Return the task with one popularity clock, for methods that look at none."""
    return replace(task, half_lives_d=task.half_lives_d[:1])


def mean_ndcg(task: Task, rank: NDArray[np.float64]) -> float:
    """Return NDCG@10, mean per member; 0 without predictions."""
    values = mean_per_member(ndcg(rank, 10), task.members)
    return float(values.mean()) if len(values) else 0.0
