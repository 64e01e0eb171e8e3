"""What a page needs to know of a member, read from their state once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.pages.params import PageParams
from serving.pages.shelves import Rows, TitleIndex
from streams.features.entity_state import EntityState
from streams.features.history import HistoryEntry
from streams.features.member import MEMBER, disliked, history, in_progress, seen
from streams.features.strength import strength

_WATCHING: Final = frozenset({"play", "progress", "complete", "rate", "like"})
"""Events of who has watched a title; who looks at it or saves it has not."""


class Source(NamedTuple):
    """A title that the member lately took to, by the newest event that says so."""

    row: int
    entry: HistoryEntry


class Begun(NamedTuple):
    """A title that the member has begun and not finished."""

    row: int
    event_time_ms: int
    watched_s: float


@dataclass(frozen=True, slots=True, eq=False)
class Taste:
    """A member as a page sees them. closed: rows (some perhaps twice) that are not to be recommended: seen or disliked.

    history, sources, begun: newest first. affinity: float64 [G], against the strongest (1), 0 for genres never met.
    watched: int [G], the titles of a genre that the member watched and did not dislike, as far as the history goes.
    """

    history: Sequence[HistoryEntry]
    closed: Rows
    sources: Sequence[Source]
    begun: Sequence[Begun]
    affinity: NDArray[np.float64]
    watched: NDArray[np.intp]

    @property
    def favourite_genres(self) -> list[int]:
        """The numbers of the genres that the member likes, the best liked first."""
        values = self.affinity.tolist()
        liked = [number for number, value in enumerate(values) if value > 0]
        return sorted(liked, key=lambda number: -values[number])


def read_taste(state: EntityState | None, index: TitleIndex, params: PageParams, now_ms: int) -> Taste:
    """Return what a state says of its member; a member without a state has no taste yet."""
    if state is None:
        return Taste(
            (), np.empty(0, np.intp), (), (), np.zeros(len(index.genres)), np.zeros(len(index.genres), np.intp)
        )
    refused = set(disliked(state))
    entries = history(state)
    return Taste(
        entries,
        _closed(state, refused, index),
        _sources(entries, refused, index, params),
        _begun(state, refused, index, params, now_ms),
        _affinity(state, index, now_ms),
        _watched(entries, refused, index),
    )


def _closed(state: EntityState, refused: set[str], index: TitleIndex) -> Rows:
    rows = index.order.rows
    met = seen(state).indexes(index.hashes)
    if refused:
        met = np.append(met, [rows[item_id] for item_id in refused if item_id in rows]).astype(np.intp)
    return met


def _affinity(state: EntityState, index: TitleIndex, now_ms: int) -> NDArray[np.float64]:
    """Return the affinities against the strongest, so that those of a member who was long away do not vanish."""
    names = tuple(f"affinity:{genre}" for genre in index.genres)
    values = np.array(MEMBER.vector_plan(names).values(state, now_ms), np.float64)
    strongest = np.abs(values).max(initial=0.0)
    return values / strongest if strongest > 0 else values


def _watched(entries: Sequence[HistoryEntry], refused: set[str], index: TitleIndex) -> NDArray[np.intp]:
    """Return int [G]: how many titles of each genre were watched with an event that speaks for them."""
    rows = index.order.rows
    taken = {
        rows[entry.item_id]
        for entry in entries
        if entry.type in _WATCHING
        and entry.item_id in rows
        and entry.item_id not in refused
        and strength(entry.type, entry.value) > 0
    }
    return (
        np.asarray(index.flags[:, list(taken)].sum(axis=1), np.intp) if taken else np.zeros(len(index.genres), np.intp)
    )


def _sources(entries: Sequence[HistoryEntry], refused: set[str], index: TitleIndex, params: PageParams) -> list[Source]:
    """Return the recent titles of which the newest event is one of clear liking."""
    rows = index.order.rows
    met: set[str] = set()
    sources: list[Source] = []
    for entry in entries:
        if len(sources) == params.because_sources:
            break
        if entry.item_id in met or entry.item_id in refused or entry.item_id not in rows:
            continue
        worth = strength(entry.type, entry.value)
        if worth >= params.because_min_strength:
            sources.append(Source(rows[entry.item_id], entry))
        if worth >= params.because_min_strength or worth < 0:
            met.add(entry.item_id)
    return sources


def _begun(state: EntityState, refused: set[str], index: TitleIndex, params: PageParams, now_ms: int) -> list[Begun]:
    rows = index.order.rows
    begun = []
    for item_id, event_time_ms, watched_s in in_progress(state):
        row = rows.get(item_id)
        if row is None or item_id in refused or now_ms - event_time_ms > params.continue_max_age_ms:
            continue
        duration_s = index.titles[row].duration_s
        if not duration_s or watched_s < duration_s * params.continue_done:
            begun.append(Begun(row, event_time_ms, watched_s))
    return begun[: params.continue_size]
