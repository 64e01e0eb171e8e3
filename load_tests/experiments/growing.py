"""False positives where looks go on after everybody has come: members' numbers go on growing, each hour by chance anew.

The hardest case for a confidence sequence whose time is members. An arm's sum of many members' numbers is a Brownian
motion then, and so it is drawn; the variance is as good as known.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from load_tests.experiments.trials import Setting
from serving.experiments.analysis.confidence_sequence import information, members_tuned_for, p_value

LOOKS: Final = 28 * 24
"""Every hour of 28 days."""


def run(setting: Setting, simulations: int, seed: np.random.SeedSequence) -> Counter[str]:
    """Return in how many simulations the sequential method finds something at any look, with as many members as it is
    tuned for, and with ten times as many."""
    rng = np.random.default_rng(seed)
    hours = np.arange(1.0, LOOKS + 1.0)
    z = np.cumsum(rng.standard_normal((simulations, LOOKS)), axis=1) / np.sqrt(hours)
    counts: Counter[str] = Counter()
    tuned = members_tuned_for(setting.plan)
    for name, members in (("sequential, growing", tuned), ("sequential, growing, tenfold", 10.0 * tuned)):
        tau = np.full_like(z, information(members, tuned, setting.plan.alpha))
        counts[f"found {name}"] += int((np.asarray(p_value(z, tau)) <= setting.plan.alpha).any(axis=1).sum())
    return counts
