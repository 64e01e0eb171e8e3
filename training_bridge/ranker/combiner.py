"""The combiner: one coefficient a signal, by maximum likelihood of the title taken up among all that could have been.

A conditional logit (McFadden 1974): softmax cross-entropy over the candidates, convex, fitted by L-BFGS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

NEVER = np.float32(-1e9)


@dataclass(frozen=True, slots=True)
class Choices:
    """N observed choices among C titles each, the one taken first.

    signals: float32 [N, C, S]. correction: float32 [N, C], added to the logits; NEVER for a title that could not be
    chosen. weight: float64 [N], sums to 1.
    """

    signals: NDArray[np.float32]
    correction: NDArray[np.float32]
    weight: NDArray[np.float64]


def fit_coefficients(
    choices: Choices, *, never_negative: NDArray[np.bool_], l2: float, max_steps: int
) -> tuple[NDArray[np.float32], float]:
    """Return float32 [S] and the mean log-loss in nats. Signals that never vary get 0; so do all, without choices.

    never_negative: bool [S], signals that may only speak for a title.
    """
    count = choices.signals.shape[2]
    if not len(choices.weight):
        return np.zeros(count, np.float32), float("nan")
    scale = unit_scale(choices.signals.reshape(-1, count))
    found = minimize(
        lambda x: _penalised_loss(x, scale, choices, l2),
        np.zeros(count),
        jac=True,
        bounds=[(0.0 if bounded else None, None) for bounded in never_negative],
        method="L-BFGS-B",
        options={"maxiter": max_steps},
    )
    coefficients = (found.x * scale).astype(np.float32)
    return coefficients, log_loss_and_gradient(coefficients, choices)[0]


def unit_scale(signals: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return float64 [S], what brings each column of float32 [N, S] to unit spread; 0 for one that is constant but for
    rounding, which would otherwise get a huge coefficient."""
    spread = signals.std(axis=0, dtype=np.float64)
    varies = spread > 1e-5 * np.abs(signals).max(axis=0) + 1e-12
    return np.where(varies, 1.0 / np.maximum(spread, 1e-12), 0.0)


def _penalised_loss(
    x: NDArray[np.float64], scale: NDArray[np.float64], choices: Choices, l2: float
) -> tuple[float, NDArray[np.float64]]:
    loss, gradient = log_loss_and_gradient((x * scale).astype(np.float32), choices)
    return loss + l2 * float(x @ x), gradient * scale + 2 * l2 * x


def log_loss_and_gradient(coefficients: NDArray[np.float32], choices: Choices) -> tuple[float, NDArray[np.float64]]:
    """Return the weighted mean of -log softmax at the chosen candidates, and its gradient, float64 [S]."""
    logits = choices.signals @ coefficients + choices.correction
    logits -= logits.max(axis=1, keepdims=True)
    chance = np.exp(logits)
    total = chance.sum(axis=1, keepdims=True)
    log_chance = logits[:, 0] - np.log(total[:, 0])
    expected = np.matmul((chance / total)[:, None, :], choices.signals)[:, 0, :]
    surplus = choices.signals[:, 0] - expected
    return -float(choices.weight @ log_chance), -(choices.weight @ surplus.astype(np.float64))
