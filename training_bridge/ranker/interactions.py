"""A columnar, time-ordered log of interactions: what the ranker learns from and is evaluated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

ENGAGED_TYPES: Final = frozenset({"play", "complete", "rate", "like", "list_add"})
"""Events by which a member takes up a title: they count as popularity, and they are what the ranker predicts. A low
rating belongs here: it says what somebody chose to watch; `history_strength` says how they liked it."""


@dataclass(frozen=True, slots=True)
class Interactions:
    """N interactions in order of (time, order of arrival).

    titles: the vocabulary, V ids. member: int32 [N], 0 to members - 1. title: int32 [N], index into titles.
    time_ms: int64 [N], Unix, ascending. strength: float32 [N], signed. engaged: bool [N], type in ENGAGED_TYPES.
    """

    titles: tuple[str, ...]
    members: int
    member: NDArray[np.int32]
    title: NDArray[np.int32]
    time_ms: NDArray[np.int64]
    strength: NDArray[np.float32]
    engaged: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.title)

    def before(self, position: int) -> Interactions:
        """Return the first `position` interactions; the vocabulary and the members stay."""
        return self.where(np.arange(len(self)) < position)

    def where(self, mask: NDArray[np.bool_]) -> Interactions:
        """Return the interactions that `mask`, bool [N], selects."""
        return Interactions(
            self.titles,
            self.members,
            self.member[mask],
            self.title[mask],
            self.time_ms[mask],
            self.strength[mask],
            self.engaged[mask],
        )

    def first_engagements(self) -> NDArray[np.bool_]:
        """Return bool [N]: engaged, and the first such event of its member with its title."""
        keys = self.member.astype(np.int64) * max(len(self.titles), 1) + self.title
        positions = np.flatnonzero(self.engaged)
        _, first = np.unique(keys[positions], return_index=True)
        mask = np.zeros(len(self), bool)
        mask[positions[first]] = True
        return mask


def build_interactions(
    titles: Sequence[str],
    member: Sequence[str] | NDArray[np.str_],
    item: Sequence[str] | NDArray[np.str_],
    event_type: Sequence[str] | NDArray[np.str_],
    time_ms: Sequence[int] | NDArray[np.int64],
    strength: Sequence[float] | NDArray[np.float32],
) -> Interactions:
    """Return the log of events given as columns of equal length, in order of arrival.

    Events of titles outside the vocabulary are dropped. Members are numbered by id, so that the result does not depend
    on who came first.
    """
    index = {title: position for position, title in enumerate(titles)}
    title = np.fromiter((index.get(str(i), -1) for i in item), np.int32, len(item))
    known = title >= 0
    names, codes = np.unique(np.asarray(member, dtype=np.str_)[known], return_inverse=True)
    times = np.asarray(time_ms, np.int64)[known]
    order = np.argsort(times, kind="stable")
    engaged = np.fromiter((t in ENGAGED_TYPES for t in event_type), np.bool_, len(event_type))
    return Interactions(
        tuple(titles),
        len(names),
        codes.astype(np.int32).reshape(-1)[order],
        title[known][order],
        times[order],
        np.asarray(strength, np.float32)[known][order],
        engaged[known][order],
    )
