"""Transitions: what members take up after a title, fading with the distance between the two and with age.

A sequential-rules model (Ludewig and Jannach, "Evaluation of session-based recommendation algorithms", UMUAI 2018, SR),
with three changes that pay on long histories: a wide window, weights that fade with the event's age, and a little of
the opposite direction.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training_bridge.ranker.interactions import Interactions


def transition_probabilities(
    log: Interactions,
    event_weight: NDArray[np.float32],
    *,
    window: int,
    distance_power: float,
    backward: float,
    shrinkage: float,
) -> sp.csr_matrix:
    """Return float32 [V, V]: row i holds the shares of what follows title i; shrinkage takes from rows of few events.

    log: each title at most once a member. event_weight: float32 [N], what an event counts as the later of a pair.
    """
    counts = transition_counts(log, event_weight, window, distance_power)
    counts = (counts + backward * counts.T).tocsr()
    totals = np.asarray(counts.sum(axis=1)).ravel()
    return sp.diags((1.0 / (totals + shrinkage)).astype(np.float32)) @ counts


def transition_counts(
    log: Interactions, event_weight: NDArray[np.float32], window: int, distance_power: float
) -> sp.csr_matrix:
    """Return float32 [V, V]: the weighted number of times j came within `window` titles after i."""
    order = np.argsort(log.member, kind="stable")
    member, title, weight = log.member[order], log.title[order], event_weight[order]
    titles = len(log.titles)
    sources, targets, values = [title[:0]], [title[:0]], [weight[:0]]
    for distance in range(1, min(window, len(log) - 1) + 1):
        together = member[distance:] == member[:-distance]
        sources.append(title[:-distance][together])
        targets.append(title[distance:][together])
        values.append(weight[distance:][together] * np.float32(distance**-distance_power))
    pairs = (np.concatenate(sources), np.concatenate(targets))
    return sp.csr_matrix((np.concatenate(values), pairs), shape=(titles, titles))
