"""A stored model as the evaluation calls it: the very graph that serving runs, on states replayed from the log."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from serving.models.manifest import Manifest
from serving.ranking.inputs import HistoryArrays
from serving.ranking.model import RankingModel
from streams.errors import FixRequest
from training_bridge.ranker.live_state import MEMBER_FEATURES, StateBatch, title_features

_POPULARITY: Final = re.compile(r"popularity:(\d+)d")


class ModelScorer:
    """Scores states over a dataset's vocabulary by a model that may have another; titles it does not know come last."""

    def __init__(self, model: RankingModel, titles: Sequence[str], half_lives_d: Sequence[int]) -> None:
        """titles, half_lives_d: those of the states to come. Raises FixRequest if the model reads what they lack."""
        self._model = model
        rows = {item_id: row for row, item_id in enumerate(titles)}
        known = [rows.get(item_id, len(titles)) for item_id in model.manifest.titles]
        self._row_of_title = np.array(known, np.int64)
        self._title_of_row = np.full(len(titles) + 1, len(known), np.int64)
        self._title_of_row[self._row_of_title] = np.arange(len(known))
        self._title_of_row[-1] = len(known)
        self._title_columns = _columns(model.manifest.title_features, title_features(tuple(half_lives_d)))
        self._member_columns = _columns(model.manifest.member_features, MEMBER_FEATURES)

    def __call__(self, states: StateBatch) -> NDArray[np.float32]:
        """Return float32 [B, V] scores, -inf for titles outside of the model's vocabulary."""
        scores = np.full((len(states.member), len(self._title_of_row)), -np.inf, np.float32)
        for row in range(len(scores)):
            scores[row, self._row_of_title] = self._run(states, row)
        return scores[:, :-1]

    def _run(self, states: StateBatch, row: int) -> NDArray[np.float32]:
        length = self._model.manifest.history_length
        history = HistoryArrays(
            self._title_of_row[states.history_title[row, :length]],
            states.history_age_s[row, :length],
            states.history_strength[row, :length],
        )
        padded = np.concatenate([states.titles[row], np.zeros((1, states.titles.shape[2]), np.float32)])
        live = padded[self._row_of_title[:, None], self._title_columns]
        score, _ = self._model.run(history, states.member[row, self._member_columns], live)
        return score


def half_lives_of(manifests: Sequence[Manifest]) -> tuple[int, ...]:
    """Return the half-lives in days of all popularity features that the models read, ascending."""
    names = (name for manifest in manifests for name in manifest.title_features)
    return tuple(sorted({int(found[1]) for name in names if (found := _POPULARITY.fullmatch(name))}))


def _columns(wanted: Sequence[str], there: Sequence[str]) -> NDArray[np.int64]:
    index: Mapping[str, int] = {name: column for column, name in enumerate(there)}
    missing = [name for name in wanted if name not in index]
    if missing:
        raise FixRequest("model", f"it reads {', '.join(missing)}, which a replay of the log does not give")
    return np.array([index[name] for name in wanted], np.int64)
