"""How often the sequential test for sample ratio mismatch finds one where members are allocated as declared."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from load_tests.experiments.trials import Setting
from serving.experiments.analysis.srm import sample_ratio

Counts = NDArray[Any]
FAULTY_SHARE: Final = 0.9
"""Of the treatment's members who are kept in the faulty runs: every tenth is lost."""


def run(setting: Setting, simulations: int, seed: np.random.SeedSequence) -> Counter[str]:
    """Return how many simulations show a mismatch at any look: of the sequential test, of chi-square looked at as often
    and once at the end; and of the sequential one where the treatment loses every tenth member."""
    rng = np.random.default_rng(seed)
    batches = setting.members // setting.batch
    counts: Counter[str] = Counter()
    for kept in (1.0, FAULTY_SHARE):
        treatment = rng.binomial(setting.batch, setting.share, (simulations, batches))
        control = setting.batch - treatment
        arms = (np.cumsum(control, axis=1), np.cumsum(rng.binomial(treatment, kept), axis=1))
        p, chi = _p_values(arms, setting)
        if kept == 1.0:
            counts["found sample ratio"] += int((p <= setting.plan.alpha).any(axis=1).sum())
            counts["found chi-square, peeked"] += int((chi <= setting.plan.alpha).any(axis=1).sum())
            counts["found chi-square, once"] += int((chi[:, -1] <= setting.plan.alpha).sum())
        else:
            counts["found loss"] += int((p <= setting.plan.srm_alpha).any(axis=1).sum())
    return counts


def _p_values(arms: tuple[Counts, Counts], setting: Setting) -> tuple[Counts, Counts]:
    """Return the p-values of each look, [simulations, looks]: the production function, once for each pair of counts."""
    pairs, back = np.unique(arms[0] * (1 << 32) + arms[1], return_inverse=True)
    weights = {"control": 1.0 - setting.share, "treatment": setting.share}
    found = [
        sample_ratio({"control": pair >> 32, "treatment": pair & 0xFFFFFFFF}, weights, setting.plan.alpha)
        for pair in pairs.tolist()
    ]
    shape = arms[0].shape
    p = np.array([each.p_value for each in found])[back].reshape(shape)
    chi = np.array([each.chi_square_p_value for each in found])[back].reshape(shape)
    return p, chi
