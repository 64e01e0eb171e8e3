"""False positives where members' numbers go on growing, each hour by chance anew.

An arm's sum of many members' numbers is a Brownian motion then, and so it is drawn; the variance is as good as known.
Looks that go on after everybody has come are the hardest case for a confidence sequence, whose time is members. For
planned looks members come evenly: what is known grows as the square of how many have come.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, get_args

import numpy as np

from load_tests.experiments.trials import Setting
from serving.experiments.analysis.confidence_sequence import information, members_tuned_for, p_value
from serving.experiments.analysis.group_sequential import boundaries
from serving.experiments.analysis.spending import Spending
from streams.experiments.definition import Plan

LOOKS: Final = 28 * 24
"""Every hour of 28 days."""
PLANNED: Final = "group sequential, growing"
TAKEN_AS_COMPLETE: Final = "group sequential, growing, taken as complete"


def run(setting: Setting, simulations: int, seed: np.random.SeedSequence) -> Counter[str]:
    """Return in how many simulations the sequential method finds something at any look, with as many members as it is
    tuned for, and with ten times as many; and planned looks as they are, and if they took numbers for complete."""
    rng = np.random.default_rng(seed)
    hours = np.arange(1.0, LOOKS + 1.0)
    z = np.cumsum(rng.standard_normal((simulations, LOOKS)), axis=1) / np.sqrt(hours)
    counts: Counter[str] = Counter()
    tuned = members_tuned_for(setting.plan)
    for name, members in (("sequential, growing", tuned), ("sequential, growing, tenfold", 10.0 * tuned)):
        tau = np.full_like(z, information(members, tuned, setting.plan.alpha))
        counts[f"found {name}"] += int((np.asarray(p_value(z, tau)) <= setting.plan.alpha).any(axis=1).sum())
    return counts + _planned(setting.plan, simulations, rng)


def _planned(plan: Plan, simulations: int, rng: np.random.Generator) -> Counter[str]:
    fractions = np.arange(1.0, plan.looks + 1.0) / plan.looks
    steps = np.sqrt(np.diff(fractions**2, prepend=0.0))
    z = np.abs(np.cumsum(steps * rng.standard_normal((simulations, plan.looks)), axis=1)) / fractions
    counts: Counter[str] = Counter()
    for spending in get_args(Spending):
        for joint, name in ((False, PLANNED), (True, TAKEN_AS_COMPLETE)):
            bounds = [look.z for look in boundaries(fractions.tolist(), plan.alpha, spending, joint=joint)]
            counts[f"found {name}, {spending}"] += int((z >= bounds).any(axis=1).sum())
    return counts
