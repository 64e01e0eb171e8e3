"""One split, all methods: the ranker, live and frozen, beside tuned baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training_bridge.evaluation.baselines.popularity import Popularity
from training_bridge.evaluation.baselines.tuning import (
    GRIDS,
    Tuned,
    best_recent_popularity,
    replace_clocks,
    tuned_history_model,
)
from training_bridge.evaluation.bootstrap import Interval, mean_interval, ratio_interval
from training_bridge.evaluation.metrics import hit_rate, mean_per_member, ndcg
from training_bridge.evaluation.prequential import Scorer, Task, make_task, predict, some_members
from training_bridge.ranker.config import RankerConfig
from training_bridge.ranker.interactions import Interactions
from training_bridge.ranker.live_state import StateBatch
from training_bridge.ranker.scoring import score
from training_bridge.ranker.titles_meta import TitlesMeta
from training_bridge.ranker.training import train
from training_bridge.ranker.weights import RankerWeights

OURS: Final = "Marquee"
FROZEN: Final = "Marquee, state frozen at the split"
ALL_TIME_D: Final = 365_000
"""A half-life so long that nothing fades: plain popularity."""
BASELINE_CLOCKS_D: Final = (7, 30, 90, 365, ALL_TIME_D)

METRICS: Final[dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "NDCG@10": lambda rank: ndcg(rank, 10),
    "HR@10": lambda rank: hit_rate(rank, 10),
    "HR@20": lambda rank: hit_rate(rank, 20),
}


@dataclass(frozen=True, slots=True)
class MethodResult:
    """What a method reached. metrics: by name. ratio: the ranker's metrics over this method's, paired over members."""

    name: str
    choice: str
    metrics: dict[str, Interval]
    ratio: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class SplitResult:
    """What one split showed. share: of the events before it. best: the best baseline by NDCG@10."""

    share: float
    members: int
    predictions: int
    candidates: int
    methods: tuple[MethodResult, ...]
    best: str


def measure(log: Interactions, meta: TitlesMeta, share: float, members: int | None, seed: int) -> SplitResult | None:
    """Return one split's result; None if there is nobody to predict."""
    config = RankerConfig()
    task = make_task(
        log, meta, share, history_length=config.history_length, half_lives_d=config.popularity_half_lives_d
    )
    if members:
        task = some_members(task, members, np.random.default_rng(seed))
    return compare(task, share, seed=seed, config=config) if len(task.positions) else None


def compare(
    task: Task,
    share: float,
    *,
    seed: int,
    config: RankerConfig | None = None,
) -> SplitResult:
    """Return the split's result."""
    config = config or RankerConfig()
    tuned = {name: tune(task, name, seed) for name in ("popularity", "recent popularity", *GRIDS)}
    weights = train(task.training, task.meta, now_ms=task.now_ms, rng=np.random.default_rng(seed), config=config)
    measured = predict_all(task, {name: baseline.scorer for name, baseline in tuned.items()})
    ranker: Scorer = RankerScorer(weights)
    own = replace(task, half_lives_d=config.popularity_half_lives_d)
    measured[OURS] = predict(own, {OURS: ranker})[OURS]
    measured[FROZEN] = predict(own, {FROZEN: ranker}, frozen=True)[FROZEN]
    choices = {name: baseline.choice for name, baseline in tuned.items()}
    return summarise(task, share, measured, choices, np.random.default_rng(seed))


@dataclass(frozen=True, slots=True)
class RankerScorer:
    """A trained ranker as a `prequential.Scorer`."""

    weights: RankerWeights

    def __call__(self, states: StateBatch) -> NDArray[np.float32]:
        return score(self.weights, states)


def tune(task: Task, name: str, seed: int) -> Tuned:
    """Return a baseline with its best parameters and window."""
    clocks = replace(task, half_lives_d=BASELINE_CLOCKS_D)
    if name == "popularity":
        return Tuned(Popularity(len(BASELINE_CLOCKS_D) - 1), "all time")
    if name == "recent popularity":
        return best_recent_popularity(clocks, np.random.default_rng(seed))
    return tuned_history_model(task, GRIDS[name], np.random.default_rng(seed))


def predict_all(task: Task, scorers: dict[str, Scorer]) -> dict[str, NDArray[np.float64]]:
    """Return the ranks by every baseline: those that count popularity, then those that read histories only."""
    counting = {name: scorer for name, scorer in scorers.items() if isinstance(scorer, Popularity)}
    reading = {name: scorer for name, scorer in scorers.items() if name not in counting}
    return {
        **predict(replace(task, half_lives_d=BASELINE_CLOCKS_D), counting),
        **predict(replace_clocks(task), reading),
    }


def summarise(
    task: Task,
    share: float,
    measured: dict[str, NDArray[np.float64]],
    choices: dict[str, str],
    rng: np.random.Generator,
) -> SplitResult:
    """Return the metrics of every method and the ranker's ratio to it."""
    values = {
        name: {metric: mean_per_member(of(rank), task.members) for metric, of in METRICS.items()}
        for name, rank in measured.items()
    }
    methods = tuple(
        MethodResult(
            name,
            choices.get(name, ""),
            {metric: mean_interval(value, rng) for metric, value in own.items()},
            {metric: ratio_interval(values[OURS][metric], value, rng) for metric, value in own.items()},
        )
        for name, own in values.items()
    )
    baselines = [method for method in methods if method.name in choices]
    best = max(baselines, key=lambda method: method.metrics["NDCG@10"].value).name
    members = len(np.unique(task.members))
    return SplitResult(share, members, len(task.positions), int(task.known.sum()), methods, best)
