"""A ranking model in memory: one ONNX run scores the whole vocabulary, indexes carry scores to catalogue order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from serving.models.manifest import Manifest
from serving.ranking.inputs import HistoryArrays, encode_history
from serving.titles.snapshot import TitleSnapshot
from streams.features.history import HistoryEntry

BOUND_SNAPSHOTS: Final = 4
"""Snapshots whose model inputs are kept: pages in the making hold the newest or the one before, replays their own."""

OUTPUTS: Final = ("score", "parts")


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a model says of every title, for one member at one time.

    score: float32 [T], in the order of the snapshot's titles; a title outside of the model's vocabulary has the lowest
    score of those inside (0 with an empty vocabulary). known: bool [T], whether the model knows the title.
    """

    score: NDArray[np.float32]
    known: NDArray[np.bool_]
    all_known: bool
    part_names: Sequence[str]
    _parts: NDArray[np.float32]
    _vocabulary_row: NDArray[np.intp]

    def parts_of(self, row: int) -> dict[str, float]:
        """Return the contributions that sum to a title's score, by name; {} for a title unknown to the model."""
        if not self.known[row]:
            return {}
        return dict(zip(self.part_names, self._parts[:, self._vocabulary_row[row]].tolist(), strict=True))

    def parts_at(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return float32 [P, len(rows)], the parts of some titles that the model knows."""
        parts: NDArray[np.float32] = self._parts[:, self._vocabulary_row[rows]]
        return parts


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """Which title is where in the vocabulary. vocabulary_row: intp [T], V where unknown; row: intp [V], T where absent.

    same: the two orders are one, so that nothing needs to be moved. near: intp [V, K], the model's neighbours as rows.
    """

    item_ids: Sequence[str]
    vocabulary_row: NDArray[np.intp]
    row: NDArray[np.intp]
    known: NDArray[np.bool_]
    all_known: bool
    same: bool
    near: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class BoundSnapshot:
    """A snapshot as one model's input. features: float32 [V, F], 0 for features and titles that the snapshot lacks."""

    snapshot: TitleSnapshot
    alignment: Alignment
    features: NDArray[np.float32]


class RankingModel:
    """A verified model. Thread-safe: a run changes nothing, the bound snapshots are swapped whole.

    neighbours: int32 [V, K], vocabulary rows of the most similar titles, the nearest first, V where there is none;
    neighbour_scores: float32 [V, K].
    """

    def __init__(
        self,
        version: str,
        manifest: Manifest,
        session: Any,
        neighbours: NDArray[np.int32],
        neighbour_scores: NDArray[np.float32],
    ) -> None:
        self.version = version
        self.manifest = manifest
        self.session = session
        self.neighbours = neighbours
        self.neighbour_scores = neighbour_scores
        self.vocabulary: Mapping[str, int] = {item_id: row for row, item_id in enumerate(manifest.titles)}
        self._bound: tuple[BoundSnapshot, ...] = ()

    @cached_property
    def member_features(self) -> list[str]:
        """The names of the member vector's entries, in order."""
        return list(self.manifest.member_features)

    def history_arrays(self, history: Sequence[HistoryEntry], now_ms: int) -> HistoryArrays:
        """Return a member's history, newest first, as the model sees it."""
        return encode_history(history, self.vocabulary, self.manifest.history_length, now_ms)

    def score(
        self, history: Sequence[HistoryEntry], member: NDArray[np.float32], snapshot: TitleSnapshot, now_ms: int
    ) -> Scores:
        """Score every title of a snapshot for a member with this history, newest first, and vector float32 [M]."""
        bound = self.bind(snapshot)
        score, parts = self.run(self.history_arrays(history, now_ms), member, bound.features)
        alignment = bound.alignment
        return Scores(
            score if alignment.same else _aligned(score, alignment),
            alignment.known,
            alignment.all_known,
            self.manifest.parts,
            parts,
            alignment.vocabulary_row,
        )

    def run(
        self, history: HistoryArrays, member: NDArray[np.float32], titles: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return (score float32 [V], parts float32 [P, V]) of one run of the graph."""
        feeds = {
            "history_title": history.titles,
            "history_age_s": history.ages_s,
            "history_strength": history.strengths,
            "member": member,
            "titles": titles,
        }
        score, parts = self.session.run(OUTPUTS, feeds)
        return score, parts

    def bind(self, snapshot: TitleSnapshot) -> BoundSnapshot:
        """Return the snapshot as this model's input, made once; call it ahead to spare the next page the work."""
        for bound in self._bound:
            if bound.snapshot is snapshot:
                return bound
        bound = self._bind(snapshot)
        self._bound = (bound, *self._bound[: BOUND_SNAPSHOTS - 1])
        return bound

    def neighbour_rows(self, row: int, snapshot: TitleSnapshot) -> NDArray[np.intp]:
        """Return the rows of a snapshot whose titles are the most similar to that of one, the nearest first."""
        alignment = self.bind(snapshot).alignment
        if not alignment.known[row]:
            return np.empty(0, np.intp)
        near = alignment.near[alignment.vocabulary_row[row]]
        present: NDArray[np.intp] = near[near < len(snapshot.order)]
        return present

    def nearest_of(self, rows: NDArray[np.intp], snapshot: TitleSnapshot) -> NDArray[np.intp]:
        """Return intp [T]: for each title the place in `rows` of the first that it is a neighbour of, -1 for none."""
        alignment = self.bind(snapshot).alignment
        size = len(snapshot.order)
        found = np.full(size + 1, -1, np.intp)
        places = np.nonzero(alignment.known[rows])[0][::-1]
        found[alignment.near[alignment.vocabulary_row[rows][places]]] = places[:, None]
        return found[:size]

    def similar(self, item_id: str, limit: int) -> list[tuple[str, float]]:
        """Return up to `limit` (item id, similarity) of the titles most similar to one; [] if it is unknown."""
        row = self.vocabulary.get(item_id)
        if row is None:
            return []
        titles = self.manifest.titles
        pairs = zip(self.neighbours[row].tolist(), self.neighbour_scores[row].tolist(), strict=True)
        return [(titles[other], score) for other, score in pairs if other < len(titles)][:limit]

    def _bind(self, snapshot: TitleSnapshot) -> BoundSnapshot:
        alignment = next((b.alignment for b in self._bound if b.alignment.item_ids is snapshot.item_ids), None)
        alignment = alignment or align(self.vocabulary, self.neighbours, snapshot.item_ids)
        columns = snapshot.columns(self.manifest.title_features)
        if not alignment.same:
            padded = np.concatenate([columns, np.zeros((1, columns.shape[1]), np.float32)])
            columns = padded[alignment.row]
        return BoundSnapshot(snapshot, alignment, columns)


def align(vocabulary: Mapping[str, int], neighbours: NDArray[np.int32], item_ids: Sequence[str]) -> Alignment:
    """Return where each title is in the vocabulary, and the other way round."""
    size, count = len(vocabulary), len(item_ids)
    vocabulary_row = np.fromiter((vocabulary.get(item_id, size) for item_id in item_ids), np.intp, count)
    known = vocabulary_row < size
    row = np.full(size, count, np.intp)
    row[vocabulary_row[known]] = np.nonzero(known)[0]
    same = size == count and bool((vocabulary_row == np.arange(count)).all())
    return Alignment(item_ids, vocabulary_row, row, known, bool(known.all()), same, np.append(row, count)[neighbours])


def _aligned(score: NDArray[np.float32], alignment: Alignment) -> NDArray[np.float32]:
    lowest = score.min() if score.size else np.float32(0)
    moved: NDArray[np.float32] = np.append(score, lowest)[alignment.vocabulary_row]
    return moved
