"""The trained ranker as an ONNX graph that honours the contract in `serving.models.manifest`.

It repeats `signals.py` for one member, operator by operator; a test holds the two together.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray

from training_bridge.ranker.history import MAX_STRENGTH, MIN_STRENGTH, REPELLING_STRENGTH, SKIPPED_STRENGTH
from training_bridge.ranker.item_table import ItemTable
from training_bridge.ranker.onnx_graph import GraphBuilder
from training_bridge.ranker.scoring import part_matrix
from training_bridge.ranker.signals import DAY_S, PARTS, POPULARITY_FLOOR, YEAR_FLOOR, release_age_signals, year_mix
from training_bridge.ranker.weights import RankerWeights

MAX_INT16 = 32_767
A = TypeVar("A", bound=np.generic)


def to_onnx(weights: RankerWeights) -> onnx.ModelProto:
    """Return the graph. Inputs and outputs: see `serving.models.manifest`. Raises ValueError without any title."""
    if not weights.titles:
        raise ValueError("a ranking model needs at least one title")
    graph = _RankerGraph(weights)
    signals = graph.signals()
    return graph.finish(signals)


class _RankerGraph:
    """The graph being built; V titles, H events of history."""

    def __init__(self, weights: RankerWeights) -> None:
        self.weights, self.config, self.tables = weights, weights.config, weights.tables
        self.titles, self.length = len(weights.titles), weights.config.history_length
        self.g = GraphBuilder()
        self.rows: dict[int, tuple[str, str]] = {}
        self.history = self.g.input("history_title", "int64", (self.length,))
        self.g.input("history_age_s", "float32", (self.length,))
        self.strength = self.g.input("history_strength", "float32", (self.length,))
        self.member = self.g.input("member", "float32", (len(weights.member_features),))
        self.live = self.g.input("titles", "float32", (self.titles, len(weights.title_features)))

    def signals(self) -> list[str]:
        """Return the signals, float32 [1, V] each, in the order of signals.compute_signals."""
        same = self.g.cast(self._pairwise_equal(), "float32")
        counts = self._counts(same)
        interest, log_rank = self._interest(same), self._log_rank(counts)
        scale = self.g.node("Mul", interest, counts)
        content = self._shares(self._weights(scale, log_rank, self.config.content_history_power))
        popularity = self._popularity()
        return [
            self._similar(self._weights(scale, log_rank, self.config.similar_history_power)),
            self._last_similar(self._weights(scale, log_rank, self.config.fast_history_power)),
            self._transitions(self._weights(scale, log_rank, self.config.transition_history_power)),
            self._transitions(self._weights(scale, log_rank, self.config.fast_history_power)),
            self._genres(content),
            self._years(content),
            *self._release_age(),
            *popularity,
            self.g.node("Mul", popularity[0], self._away()),
        ]

    def finish(self, signals: list[str]) -> onnx.ModelProto:
        """Weigh the signals into parts, sum the parts, and return the model."""
        stacked = self.g.node("Concat", *signals, axis=0)
        parts = self.g.node("MatMul", self.g.constant(part_matrix(self.weights)), stacked)
        score = self.g.node("ReduceSum", parts, self.g.ints(0), keepdims=0)
        self.g.output(score, "score", (self.titles,))
        self.g.output(parts, "parts", (len(PARTS), self.titles))
        return self.g.model("ranker")

    def _pairwise_equal(self) -> str:
        column = self.g.node("Unsqueeze", self.history, self.g.ints(1))
        return self.g.node("Equal", column, self.g.node("Unsqueeze", self.history, self.g.ints(0)))

    def _counts(self, same: str) -> str:
        """Return float32 [H]: 1 where a title is met for the first time from the newest, 0 for repeats and padding."""
        newer = self.g.constant(np.tri(self.length, k=-1, dtype=np.float32))
        repeats = self.g.node("ReduceSum", self.g.node("Mul", same, newer), self.g.ints(1), keepdims=0)
        first = self.g.node("Less", repeats, self.g.scalar(0.5))
        known = self.g.node("Less", self.history, self.g.constant(np.array(self.titles, np.int64)))
        return self.g.cast(self.g.node("And", first, known), "float32")

    def _interest(self, same: str) -> str:
        """Return float32 [H]: see history.interest."""
        total = self._clip(self.g.node("MatMul", same, self.strength), MIN_STRENGTH, MAX_STRENGTH)
        shifted = self.g.node("Sub", total, self.g.scalar(SKIPPED_STRENGTH))
        attracted = self._clip(self.g.node("Div", shifted, self.g.scalar(1.0 - SKIPPED_STRENGTH)), 0.0, 1.0)
        repelled = self._clip(self.g.node("Sub", self.g.scalar(REPELLING_STRENGTH), total), 0.0, 1.0)
        return self.g.node("Sub", attracted, repelled)

    def _clip(self, value: str, low: float, high: float) -> str:
        return self.g.node("Clip", value, self.g.scalar(low), self.g.scalar(high))

    def _log_rank(self, counts: str) -> str:
        """Return float32 [H]: log(1 + rank), the rank being the number of distinct titles that are newer."""
        position = self.g.node("CumSum", counts, self.g.constant(np.array(0, np.int64)))
        return self.g.node("Log", self.g.node("Max", position, self.g.scalar(1.0)))

    def _weights(self, scale: str, log_rank: str, power: float) -> str:
        """Return float32 [H]: see history.history_weights."""
        return self.g.node("Mul", scale, self.g.node("Exp", self.g.node("Mul", log_rank, self.g.scalar(-power))))

    def _shares(self, weight: str) -> str:
        total = self.g.node("ReduceSum", self.g.node("Abs", weight), self.g.ints(0), keepdims=1)
        return self.g.node("Div", weight, self.g.node("Max", total, self.g.scalar(1e-6)))

    def _similar(self, weight: str) -> str:
        positive = self.g.node("Max", self._spread(weight, self.tables.similar), self.g.scalar(0.0))
        root = self.g.node("Sqrt", self.g.node("Add", positive, self.g.scalar(self.config.similar_floor)))
        return self.g.node("Sub", root, self.g.scalar(float(np.sqrt(np.float32(self.config.similar_floor)))))

    def _last_similar(self, weight: str) -> str:
        return self.g.node("Max", self._spread(weight, self.tables.similar), self.g.scalar(0.0))

    def _transitions(self, weight: str) -> str:
        chance = self._spread(self._shares(weight), self.tables.transitions)
        return self.g.log_ratio(chance, self.config.transition_floor)

    def _spread(self, weight: str, table: ItemTable) -> str:
        """Return float32 [1, V]: the sum of the table's rows of the history, each times its weight."""
        rows, values = self._rows_of(table)
        weighted = self.g.node("Mul", values, self.g.node("Unsqueeze", weight, self.g.ints(1)))
        empty = self.g.constant(np.zeros(self.titles + 1, np.float32))
        flat_rows, flat = (self.g.node("Reshape", tensor, self.g.ints(-1)) for tensor in (rows, weighted))
        summed = self.g.node("ScatterElements", empty, flat_rows, flat, axis=0, reduction="add")
        return self._row(self.g.node("Slice", summed, self.g.ints(0), self.g.ints(self.titles)))

    def _rows_of(self, table: ItemTable) -> tuple[str, str]:
        """Return the history's rows of a table, targets int64 [H, K] and values float32 [H, K], read once."""
        if id(table) not in self.rows:
            target, value = (self.g.constant(array) for array in padded(table))
            rows = self.g.cast(self.g.node("Gather", target, self.history, axis=0), "int64")
            values = self.g.cast(self.g.node("Gather", value, self.history, axis=0), "float32")
            self.rows[id(table)] = (rows, values)
        return self.rows[id(table)]

    def _row(self, vector: str) -> str:
        return self.g.node("Unsqueeze", vector, self.g.ints(0))

    def _genres(self, share: str) -> str:
        vectors = self.tables.genre_vectors
        rows = self.g.node("Gather", self.g.constant(with_padding_row(vectors, 0)), self.history, axis=0)
        profile = self.g.node("MatMul", self._row(share), rows)
        return self.g.node("MatMul", profile, self.g.constant(vectors.T))

    def _years(self, share: str) -> str:
        closeness = self.tables.year_closeness
        year = self.g.constant(with_padding_row(self.tables.title_year.astype(np.int64), len(closeness)))
        rows = self.g.node(
            "Gather",
            self.g.constant(with_padding_row(closeness, 0)),
            self.g.node("Gather", year, self.history, axis=0),
            axis=0,
        )
        near = self.g.log_ratio(self.g.node("MatMul", self._row(share), rows), YEAR_FLOOR)
        mixed = self.g.node("MatMul", near, self.g.constant(year_mix(self.tables)))
        return self.g.node("Gather", mixed, self.g.constant(self.tables.title_year.astype(np.int64)), axis=1)

    def _release_age(self) -> list[str]:
        return [self.g.constant(signal) for signal in release_age_signals(self.tables)]

    def _popularity(self) -> list[str]:
        return [self._log_popularity(clock) for clock in range(len(self.config.popularity_half_lives_d))]

    def _log_popularity(self, clock: int) -> str:
        counts = self._feature(clock)
        total = self.g.node("Max", self.g.node("ReduceSum", counts, keepdims=1), self.g.scalar(1e-6))
        share = self.g.node("Div", counts, total)
        return self.g.log_ratio(self.g.node("Mul", share, self.g.scalar(self.titles)), POPULARITY_FLOOR)

    def _feature(self, column: int) -> str:
        """Return one live title feature, float32 [1, V]."""
        return self._row(self.g.node("Gather", self.live, self.g.constant(np.array(column, np.int64)), axis=1))

    def _away(self) -> str:
        """Return float32 [1]: see signals.away."""
        recency = self.g.node("Gather", self.member, self.g.ints(0), axis=0)
        return self.g.node("Div", self.g.log_ratio(recency, DAY_S), self.g.scalar(5.0))


def padded(table: ItemTable) -> tuple[NDArray[np.signedinteger[Any]], NDArray[np.float16]]:
    """Return the table with a row for the padding title, its targets in the narrowest type that holds them."""
    titles = len(table.target)
    dtype: type[np.int16] | type[np.int32] = np.int16 if titles <= MAX_INT16 else np.int32
    return with_padding_row(table.target, titles).astype(dtype), with_padding_row(table.value, 0)


def with_padding_row(array: NDArray[A], fill: int) -> NDArray[A]:
    """Return the array with one more row, for the padding title."""
    return np.concatenate([array, np.full_like(array[:1], fill)])
