"""The protocol: nothing of the future, nothing of the predicted event."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tests.training_bridge.ranker.synthetic import SMALL, START_MS, small_world, world_of
from training_bridge.evaluation.baselines.ease import fit_ease
from training_bridge.evaluation.baselines.history_model import WindowedScorer
from training_bridge.evaluation.baselines.item_knn import fit_item_knn
from training_bridge.evaluation.baselines.window import Window
from training_bridge.evaluation.comparison import RankerScorer
from training_bridge.evaluation.prequential import Task, make_task, predict
from training_bridge.ranker.interactions import Interactions
from training_bridge.ranker.training import train


def task_of(log: Interactions, share: float = 0.6) -> Task:
    _, meta = small_world()
    return make_task(
        log,
        meta,
        share,
        history_length=SMALL.history_length,
        half_lives_d=SMALL.popularity_half_lives_d,
    )


def ranks_of(task: Task) -> NDArray[np.float64]:
    weights = train(task.training, task.meta, now_ms=task.now_ms, rng=np.random.default_rng(0), config=SMALL)
    return predict(task, {"ranker": RankerScorer(weights)})["ranker"]


def test_shuffling_the_future_does_not_change_predictions() -> None:
    log, _ = small_world()
    task = task_of(log)
    middle = int(task.positions[len(task.positions) // 2])
    title = log.title.copy()
    title[middle + 1 :] = np.random.default_rng(1).permutation(title[middle + 1 :])
    other = replace(task, log=replace(log, title=title))
    same = task.positions <= middle
    assert same.sum() > 10
    np.testing.assert_array_equal(ranks_of(task)[same], ranks_of(other)[same])


def test_only_titles_known_at_the_split_are_predicted() -> None:
    log, _ = small_world()
    task = task_of(log)
    assert task.known[log.title[task.positions]].all()
    assert (task.positions >= task.split).all()


def test_members_need_five_earlier_titles() -> None:
    rows = [("m", f"t{n}", "rate", START_MS + n, 2.0) for n in range(8)]
    rows = [("n", f"t{n}", "rate", START_MS - 100 + n, 2.0) for n in range(8)] + rows
    log, _ = world_of(rows, 30)
    assert task_of(log, share=0.5).positions.tolist() == [13, 14, 15]


def test_a_frozen_state_stays_that_of_the_split() -> None:
    log, _ = small_world()
    task = task_of(log)
    weights = train(task.training, task.meta, now_ms=task.now_ms, rng=np.random.default_rng(0), config=SMALL)
    ranker = {"ranker": RankerScorer(weights)}
    assert predict(task, ranker)["ranker"].mean() < predict(task, ranker, frozen=True)["ranker"].mean()


def test_baselines_read_the_live_history() -> None:
    log, _ = small_world()
    task = task_of(log)
    for model in (fit_ease(task.training, l2=5.0), fit_item_knn(task.training, neighbours=10, shrinkage=1.0)):
        rank = predict(task, {"it": WindowedScorer(model, Window("last 3", 3))})["it"]
        assert rank.mean() < 12
