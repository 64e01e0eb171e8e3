"""False positives of A/A tests that are looked at after every batch, by method and distribution."""

from __future__ import annotations

import math
from typing import Final, get_args

import msgspec
from rich.console import Console
from rich.table import Table

from load_tests.experiments import growing
from load_tests.experiments.populations import REAL, Floats, populations
from load_tests.experiments.simulate import GROWING, RATIOS, Case, simulate
from load_tests.experiments.trials import Setting
from serving.experiments.analysis.spending import Spending
from streams.experiments.definition import Plan

METHODS: Final = ("sequential", "sequential, CUPED", "guardrail", "group sequential", "fixed, once", "fixed, peeked")
GROWN: Final = (
    "sequential, growing",
    "sequential, growing, tenfold",
    *(f"{growing.PLANNED}, {spending}" for spending in get_args(Spending)),
)
HELD: Final = ("sequential", "sequential, CUPED", "guardrail", "group sequential", "sample ratio", *GROWN)
"""The methods that promise alpha however often one looks."""
UNEQUAL: Final = ("normal", "Bernoulli 1 %", "lognormal")
"""Distributions that are measured with a treatment of a tenth of the members, too: the harder case."""


class Rate(msgspec.Struct, frozen=True):
    """Of false positives: `found` of `simulations`, with the binomial standard error at alpha."""

    case: str
    method: str
    found: int
    simulations: int
    alpha: float

    @property
    def rate(self) -> float:
        """Share of the simulations."""
        return self.found / self.simulations

    @property
    def errors_above(self) -> float:
        """How many standard errors it lies above alpha."""
        return (self.rate - self.alpha) / math.sqrt(self.alpha * (1.0 - self.alpha) / self.simulations)

    @property
    def is_kept(self) -> bool:
        """Whether a method that promises alpha keeps to it, as far as chance allows to tell: what spends all of alpha
        lies more than one standard error above it in a sixth of all rows, more than three in none of a hundred."""
        return self.method not in HELD or self.errors_above <= 3.0


def cases(plan: Plan, real: bool) -> list[Case]:
    """Return the cases of the table."""
    names = [*populations(), *([REAL] if real else [])]
    equal = [Case(name, Setting(plan=plan)) for name in names]
    unequal = [Case(name, Setting(plan=plan, share=0.1)) for name in UNEQUAL]
    sizes = [Case(RATIOS, Setting(plan=plan)), Case(RATIOS, Setting(plan=plan, share=0.1))]
    return [*equal, *unequal, *sizes, Case(GROWING, Setting(plan=plan))]


def measure(
    console: Console, simulations: int, seed: int, jobs: int, alpha: float, real: tuple[Floats, Floats] | None
) -> list[Rate]:
    """Simulate, print the tables, and return the rates."""
    chosen = cases(Plan(alpha=alpha), real is not None)
    counts = simulate(console, chosen, simulations, seed, jobs, real)
    rates = [
        Rate(case.name, name.removeprefix("found "), count[name], simulations, alpha)
        for case, count in zip(chosen, counts, strict=True)
        for name in sorted(count)
        if name.startswith("found ")
    ]
    setting = chosen[0].setting
    looks = (setting.members - setting.plan.min_members) // setting.batch + 1
    console.print(_table(rates, simulations, alpha, setting, looks))
    console.print(_ratio_table(rates, alpha, setting))
    grown = {rate.method: _shown(rate) for rate in rates}
    console.print(
        f"Numbers that grow after everybody has come, a look in each of {growing.LOOKS} hours: sequential "
        f"{grown[GROWN[0]]} with as many members as it is tuned for, {grown[GROWN[1]]} with ten times as many"
    )
    for spending in get_args(Spending):
        console.print(
            f"Numbers that grow while members come, {setting.plan.looks} looks, {spending}: group sequential "
            f"{grown[f'{growing.PLANNED}, {spending}']}; if it took numbers for complete, "
            f"{grown[f'{growing.TAKEN_AS_COMPLETE}, {spending}']}"
        )
    above = [rate for rate in rates if rate.method in HELD and rate.errors_above > 1.0]
    for rate in above:
        console.print(
            f"{rate.case}, {rate.method}: {rate.rate:.2%}, {rate.errors_above:.1f} standard errors above alpha: "
            + ("as chance has it with a method that spends all of alpha" if rate.is_kept else "[red]it is not kept")
        )
    if not above:
        console.print("Every method that promises alpha keeps to it, one standard error allowed, in every row.")
    return rates


def _table(rates: list[Rate], simulations: int, alpha: float, setting: Setting, looks: int) -> Table:
    error = math.sqrt(alpha * (1.0 - alpha) / simulations)
    table = Table(
        title=f"False positives of {simulations:,} A/A tests each, alpha {alpha:g} (s.e. {error:.2%}): {looks} looks, "
        f"one after every {setting.batch} members from {setting.plan.min_members:,} to {setting.members:,}",
        title_justify="left",
    )
    table.add_column("members, share of the treatment")
    for method in METHODS:
        table.add_column(method, justify="right")
    found = {(rate.case, rate.method): rate for rate in rates}
    for case in dict.fromkeys(rate.case for rate in rates if not rate.case.startswith((RATIOS, GROWING))):
        table.add_row(case, *(_shown(found.get((case, method))) for method in METHODS))
    return table


def _ratio_table(rates: list[Rate], alpha: float, setting: Setting) -> Table:
    table = Table(title=f"Sample ratio mismatch, looked at after every batch, alpha {alpha:g}", title_justify="left")
    names = ("sample ratio", "chi-square, once", "chi-square, peeked", "loss")
    shown = ("sequential", "chi-square, once", "chi-square, peeked")
    for column in ("share", *shown, f"sequential at {setting.plan.srm_alpha:g}, every tenth member lost: found"):
        table.add_column(column, justify="right")
    found = {(rate.case, rate.method): rate for rate in rates if rate.case.startswith(RATIOS)}
    for case in dict.fromkeys(case for case, _ in found):
        table.add_row(
            case.removeprefix(RATIOS).removeprefix(", ") or "50% : 50%",
            *(_shown(found[case, name]) for name in names[:-1]),
            f"{found[case, 'loss'].rate:.2%}",
        )
    return table


def _shown(rate: Rate | None) -> str:
    if rate is None:
        return ""
    colour = "green" if rate.errors_above <= 1.0 else "yellow" if rate.errors_above <= 3.0 else "red"
    return f"[{colour}]{rate.rate:.2%}[/]"
