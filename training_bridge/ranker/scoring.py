"""The reference scorer: the model in numpy, batched. The exported graph must agree with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training_bridge.ranker.live_state import StateBatch
from training_bridge.ranker.signals import PARTS, compute_signals, each_signal, signal_parts
from training_bridge.ranker.weights import RankerWeights


def score(weights: RankerWeights, states: StateBatch) -> NDArray[np.float32]:
    """Return float32 [B, V]: the higher, the likelier that the member takes the title up next."""
    total = np.zeros(states.titles.shape[:2], np.float32)
    signals = each_signal(weights.tables, weights.config, states)
    for coefficient, signal in zip(weights.coefficients, signals, strict=True):
        if coefficient:
            total += coefficient * signal
    return total


def part_scores(weights: RankerWeights, states: StateBatch) -> NDArray[np.float32]:
    """Return float32 [P, B, V], in the order of PARTS: contributions that sum to the score."""
    signals = compute_signals(weights.tables, weights.config, states)
    mix = part_matrix(weights)
    return np.asarray(np.tensordot(mix, signals, axes=1), np.float32)


def part_matrix(weights: RankerWeights) -> NDArray[np.float32]:
    """Return float32 [P, S]: the coefficients, each in the row of its part."""
    mix = np.zeros((len(PARTS), len(weights.coefficients)), np.float32)
    for signal, part in enumerate(signal_parts(weights.config)):
        mix[PARTS.index(part), signal] = weights.coefficients[signal]
    return mix
