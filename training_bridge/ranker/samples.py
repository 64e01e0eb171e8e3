"""Which events are predicted: those of the prequential protocol, and what the member could still have chosen."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from training_bridge.ranker.combiner import NEVER
from training_bridge.ranker.interactions import Interactions


def predictable_positions(
    log: Interactions, split: int, known: NDArray[np.bool_], min_history: int
) -> NDArray[np.int64]:
    """Return the positions from `split` on of first engagements with known titles by members with enough earlier ones.

    known: bool [V]. min_history: engagements, each with another title, that the member had before.
    """
    first = log.first_engagements()
    earlier = np.zeros(len(log), np.int64)
    had: Counter[int] = Counter()
    for position in np.flatnonzero(first):
        member = int(log.member[position])
        earlier[position] = had[member]
        had[member] += 1
    chosen = first & known[log.title] & (earlier >= min_history)
    chosen[:split] = False
    return np.flatnonzero(chosen)


def limit_per_member(
    log: Interactions, positions: NDArray[np.int64], limit: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return at most `limit` of the positions for each member, drawn at random, ascending."""
    shuffled = rng.permutation(positions)
    taken: Counter[int] = Counter()
    kept = []
    for position in shuffled:
        member = int(log.member[position])
        if taken[member] < limit:
            taken[member] += 1
            kept.append(int(position))
    return np.sort(np.asarray(kept, np.int64))


def candidates(log: Interactions, positions: NDArray[np.int64], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return bool [N, V]: the known titles that the member had not engaged with before each of the positions."""
    allowed = np.repeat(known[None, :], len(positions), axis=0)
    order = np.argsort(log.member, kind="stable")
    bounds = np.searchsorted(log.member[order], np.arange(log.members + 1))
    for row, position in enumerate(positions):
        member = int(log.member[position])
        events = order[bounds[member] : bounds[member + 1]]
        events = events[: int(np.searchsorted(events, position))]
        allowed[row, log.title[events[log.engaged[events]]]] = False
    return allowed


def draw_odds(log: Interactions, split: int) -> NDArray[np.float64]:
    """Return the chances of a draw, float64 [V]: half by popularity before the split, half evenly."""
    counts = np.bincount(log.title[:split], minlength=len(log.titles)).astype(np.float64)
    known = counts > 0
    odds = counts / max(counts.sum(), 1.0) + known / max(known.sum(), 1)
    return np.asarray(odds / max(odds.sum(), 1e-12), np.float64)


def draw_candidates(
    log: Interactions,
    positions: NDArray[np.int64],
    known: NDArray[np.bool_],
    odds: NDArray[np.float64],
    count: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return titles int64 [N, 1 + count], the one taken up first, and what to add to their logits, float32 of that
    shape.

    The correction, -log of the expected number of draws, makes the softmax over the draws an estimate of the one over
    all candidates (Bengio and Senecal, "Adaptive importance sampling", 2008); titles that were no candidates get -inf's
    stand-in.
    """
    own = log.title[positions].astype(np.int64)[:, None]
    drawn = (
        rng.choice(len(odds), size=(len(positions), count), p=odds)
        if len(positions)
        else np.zeros((0, count), np.int64)
    )
    allowed = np.take_along_axis(candidates(log, positions, known), drawn, axis=1) & (drawn != own)
    correction = np.where(allowed, -np.log(np.maximum(odds[drawn] * count, 1e-300)), NEVER)
    both = np.concatenate([np.zeros((len(positions), 1)), correction], axis=1)
    return np.concatenate([own, drawn], axis=1), both.astype(np.float32)
