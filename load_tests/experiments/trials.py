"""Simulated experiments, each looked at after every batch of members, judged by each of the methods."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from load_tests.experiments.batch import Compared, Sums, compare, sums_of
from load_tests.experiments.populations import Population
from serving.experiments.analysis.confidence_sequence import (
    information,
    members_tuned_for,
    multiplier,
    one_sided_p_value,
    p_value,
)
from serving.experiments.analysis.group_sequential import boundaries, counted
from streams.experiments.definition import Plan

Flags = Any
"""bool [simulations]; numpy types comparisons as a union with one bool."""
BLOCK = 8
"""Experiments that are drawn at a time: their members fit into the processor's cache."""


PLAN: Final = Plan()


@dataclass(frozen=True, slots=True)
class Setting:
    """members: of both arms at the end; batch: of them between looks. Before `plan.min_members` nothing is decided, so
    nobody looks. share: of the treatment. lift: its relative effect."""

    lift: float = 0.0
    share: float = 0.5
    members: int = 20_000
    batch: int = 200
    plan: Plan = PLAN


def run(setting: Setting, population: Population, simulations: int, seed: np.random.SeedSequence) -> Counter[str]:
    """Return in how many of the simulations each method found an effect (`found <method>`), and in how many its
    interval held the truth at every look that it has (`covered <method>`)."""
    rng = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    for begin in range(0, simulations, BLOCK):
        control, treatment = draw(setting, population, min(BLOCK, simulations - begin), rng)
        for name, flags in judged(setting, population, control, treatment).items():
            counts[name] += int(flags.sum())
    return counts


def draw(setting: Setting, population: Population, simulations: int, rng: np.random.Generator) -> tuple[Sums, Sums]:
    """Return the control's and the treatment's sums, [simulations, batches]."""
    batches = setting.members // setting.batch
    sizes = (setting.batch - round(setting.batch * setting.share), round(setting.batch * setting.share))
    arms = [population.draw(rng, (simulations, batches, size)) for size in sizes]
    if setting.lift and population.name == "Bernoulli 1 %":
        more = rng.random(arms[1][0].shape) < setting.lift * population.value / (1.0 - population.value)
        arms[1] = (np.maximum(arms[1][0], more), *arms[1][1:])
    elif setting.lift:
        arms[1] = (arms[1][0] * (1.0 + setting.lift), *arms[1][1:])
    return sums_of(arms[0]), sums_of(arms[1])


def judged(setting: Setting, population: Population, control: Sums, treatment: Sums) -> dict[str, Flags]:
    """Return what each method makes of each simulation, [simulations]."""
    first = math.ceil(setting.plan.min_members / setting.batch) - 1
    plain = _from(compare(control, treatment, cuped=False), first)
    cuped = _from(compare(control, treatment, cuped=True), first)
    truth = setting.lift * population.value
    flags = _sequential(setting.plan, plain, truth, "sequential")
    flags |= _sequential(setting.plan, cuped, truth, "sequential, CUPED")
    flags |= _relative(setting, plain)
    flags |= _guardrail(setting.plan, plain)
    flags |= _fixed(setting.plan, plain, truth)
    return flags | _group_sequential(setting, plain, truth)


def _from(found: Compared, first: int) -> Compared:
    return Compared(*(getattr(found, name)[:, first:] for name in found.__slots__))


def _tau(plan: Plan, found: Compared, alpha: float) -> NDArray[np.float64]:
    return np.asarray(information(found.n, members_tuned_for(plan), alpha))


def _sequential(plan: Plan, found: Compared, truth: float, name: str) -> dict[str, Flags]:
    tau, error = _tau(plan, found, plan.alpha), found.cautious_standard_error
    p = np.asarray(p_value(found.difference / error, tau))
    half = multiplier(tau, plan.alpha) * error
    return {
        f"found {name}": (p <= plan.alpha).any(axis=1),
        f"covered {name}": (np.abs(found.difference - truth) <= half).all(axis=1),
        f"covered at the end, {name}": (np.abs(found.difference - truth) <= half)[:, -1],
    }


def _relative(setting: Setting, found: Compared) -> dict[str, Flags]:
    """Fieller's interval holds a relative effect when this difference is not too far from 0 (see `delta`)."""
    factor = 1.0 + setting.lift
    own = found.treatment - factor * found.control
    error = np.sqrt(found.treatment_variance + factor**2 * found.control_variance)
    some = np.isfinite(found.standard_error)
    wider = np.divide(found.cautious_standard_error, found.standard_error, out=np.ones_like(error), where=some)
    reach = multiplier(_tau(setting.plan, found, setting.plan.alpha), setting.plan.alpha)
    return {"covered sequential, relative": (np.abs(own) <= reach * wider * error).all(axis=1)}


def _guardrail(plan: Plan, found: Compared) -> dict[str, Flags]:
    """Harm beyond a margin of 0, of a metric that should increase: one-sided."""
    tau = _tau(plan, found, 2.0 * plan.alpha)
    p = np.asarray(one_sided_p_value(-found.difference / found.cautious_standard_error, tau))
    return {"found guardrail": (p <= plan.alpha).any(axis=1)}


def _fixed(plan: Plan, found: Compared, truth: float) -> dict[str, Flags]:
    p = 2.0 * stdtr(found.df, -np.abs(found.difference / found.standard_error))
    half = stdtrit(found.df[:, -1], 1.0 - plan.alpha / 2.0) * found.standard_error[:, -1]
    return {
        "found fixed, peeked": (p <= plan.alpha).any(axis=1),
        "found fixed, once": p[:, -1] <= plan.alpha,
        "covered fixed, once": np.abs(found.difference[:, -1] - truth) <= half,
    }


def _group_sequential(setting: Setting, found: Compared, truth: float) -> dict[str, Flags]:
    plan = setting.plan
    members = found.n[0].astype(np.int64).tolist()
    places = list(counted(members, setting.members, plan.looks))
    bounds = boundaries([members[place] / setting.members for place in places], plan.alpha, plan.spending)
    nominal = np.array([bound.nominal_p for bound in bounds])
    difference, error, df = (each[:, places] for each in (found.difference, found.cautious_standard_error, found.df))
    p, from_truth = (2.0 * stdtr(df, -np.abs(off) / error) for off in (difference, difference - truth))
    return {
        "found group sequential": (p <= nominal).any(axis=1),
        "covered group sequential": (from_truth >= nominal).all(axis=1),
    }
