"""Whether intervals hold the true effect as often as they promise, and effects are found as often as theory says."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from load_tests.experiments.batch import compare
from load_tests.experiments.populations import Floats, Population, populations
from load_tests.experiments.simulate import Case, simulate
from load_tests.experiments.trials import Setting, draw
from serving.experiments.analysis.confidence_sequence import members_tuned_for
from serving.experiments.analysis.power import fixed_power, group_sequential_power, sequential_power
from streams.experiments.definition import Plan

COVERAGE: Final = {
    "fixed, at the end": "fixed, once",
    "sequential, at the end": "at the end, sequential",
    "sequential, all looks": "sequential",
    "sequential relative, all looks": "sequential, relative",
    "sequential CUPED, all looks": "sequential, CUPED",
    "group sequential, all 5": "group sequential",
}
POWER: Final = ("fixed, once", "group sequential", "sequential", "sequential, CUPED")
MANY: Final = 1_000_000
"""Members of an arm, of whom the standard error is taken that theory starts from."""


class Measured(msgspec.Struct, frozen=True):
    """A share of the simulations of a case, and what theory says (of coverage: at least)."""

    case: str
    lift: float
    what: str
    share: float
    theory: float


def measure(
    console: Console, simulations: int, seed: int, jobs: int, alpha: float, real: tuple[Floats, Floats] | None
) -> list[Measured]:
    """Simulate experiments with an effect, print the tables, and return their numbers."""
    plan = Plan(alpha=alpha)
    known = populations(real)
    cases = [Case(name, Setting(lift=population.lift, plan=plan)) for name, population in known.items()]
    counts = simulate(console, cases, simulations, seed, jobs, real)
    covered, found = [], []
    for case, count in zip(cases, counts, strict=True):
        for column, name in COVERAGE.items():
            share = count[f"covered {name}"] / simulations
            covered.append(Measured(case.name, case.setting.lift, column, share, 1.0 - alpha))
        found += _power(case, known[case.population], count, simulations, seed)
    error = math.sqrt(alpha * (1.0 - alpha) / simulations)
    console.print(_coverage_table(covered, simulations, error))
    console.print(_power_table(found, simulations))
    return [*covered, *found]


def _power(case: Case, population: Population, count: Counter[str], simulations: int, seed: int) -> list[Measured]:
    theory = theories(case.setting, population, np.random.default_rng([seed, MANY]))
    return [
        Measured(case.name, case.setting.lift, name, count[f"found {name}"] / simulations, theory[name])
        for name in POWER
    ]


def theories(setting: Setting, population: Population, rng: np.random.Generator) -> dict[str, float]:
    """Return the power of each method, by the functions that design an experiment."""
    plan = setting.plan
    control, treatment = draw(Setting(setting.lift, setting.share, MANY, MANY, plan), population, 1, rng)
    drift, adjusted = (
        setting.lift * population.value / float(found.standard_error[0, 0]) * math.sqrt(setting.members / MANY)
        for found in (compare(control, treatment, cuped=cuped) for cuped in (False, True))
    )
    looks = [float(n) for n in range(plan.min_members, setting.members + 1, setting.batch)]
    tuned = members_tuned_for(plan)
    return {
        "fixed, once": fixed_power(drift, plan.alpha),
        "group sequential": group_sequential_power(plan.looks, plan.spending, plan.alpha, drift).power,
        "sequential": sequential_power(looks, tuned, plan.alpha, drift).power,
        "sequential, CUPED": sequential_power(looks, tuned, plan.alpha, adjusted).power,
    }


def _coverage_table(covered: list[Measured], simulations: int, error: float) -> Table:
    table = Table(
        title=f"Intervals that hold the true effect, of {simulations:,} experiments each: "
        f"{covered[0].theory:.0%} or more promised (s.e. {error:.2%})",
        title_justify="left",
    )
    table.add_column("members, relative effect")
    for column in COVERAGE:
        table.add_column(column, justify="right")
    for case in dict.fromkeys(each.case for each in covered):
        row = [each for each in covered if each.case == case]
        shown = (f"[{_colour((each.theory - each.share) / error)}]{each.share:.2%}[/]" for each in row)
        table.add_row(f"{case}, {row[0].lift:+.1%}", *shown)
    return table


def _colour(errors_below: float) -> str:
    return "green" if errors_below <= 1.0 else "yellow" if errors_below <= 3.0 else "red"


def _power_table(found: list[Measured], simulations: int) -> Table:
    table = Table(
        title=f"Effects found / theory's power, of {simulations:,} experiments each (s.e. at most "
        f"{math.sqrt(0.25 / simulations):.2%})",
        title_justify="left",
    )
    table.add_column("members, relative effect")
    for name in POWER:
        table.add_column(name, justify="right")
    for case in dict.fromkeys(each.case for each in found):
        row = [each for each in found if each.case == case]
        table.add_row(f"{case}, {row[0].lift:+.1%}", *(f"{each.share:.1%} / {each.theory:.1%}" for each in row))
    return table
