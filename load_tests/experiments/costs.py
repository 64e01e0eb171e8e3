"""What each method costs in members, by the functions that design an experiment."""

from __future__ import annotations

from typing import Final

import msgspec
from rich.console import Console
from rich.table import Table

from serving.experiments.analysis.spending import Spending
from serving.experiments.design import Baseline, design
from serving.experiments.effects import COMPLETE_IN, DAY_S
from streams.experiments.definition import Definition, Plan, Variant
from streams.experiments.metric import Measure, Metric

BASELINE: Final = Baseline(mean=1.0, variance=4.0, members_a_day=2_000.0)
MDE: Final = 0.05
_SPENDING: Final[dict[str, Spending]] = {"O'Brien-Fleming": "obrien_fleming", "Pocock": "pocock"}


class Cost(msgspec.Struct, frozen=True):
    """Of one method: members until the effect is found with power 0.8, and on average; days of them."""

    method: str
    members: int | None
    expected: int | None
    days: float | None


def measure(console: Console, alpha: float) -> list[Cost]:
    """Print and return what the methods cost."""
    fixed = _cost("fixed", Plan(method="fixed", alpha=alpha))
    found = [
        fixed,
        *(
            _cost(
                f"group sequential, 5 looks, {name}{kind}", Plan("group_sequential", alpha, spending=chosen), window_s
            )
            for kind, window_s in (("", int(COMPLETE_IN * DAY_S)), (", numbers that go on growing", None))
            for name, chosen in _SPENDING.items()
        ),
        _cost("sequential, planned_members as many as fixed takes", Plan(planned_members=fixed.members, alpha=alpha)),
        _cost("sequential, default", Plan(alpha=alpha)),
    ]
    table = Table(
        title=f"Members until an effect of {MDE:.0%} is found with power 0.8, alpha {alpha:g} (mean "
        f"{BASELINE.mean:g}, variance {BASELINE.variance:g}, {BASELINE.members_a_day:,.0f} members a day)",
        title_justify="left",
    )
    table.add_column("method")
    for column in ("members", "of fixed", "on average, if the effect is there", "of fixed", "days"):
        table.add_column(column, justify="right")
    for cost in found:
        shown = ((f"{n:,}", f"{n / fixed.members:.2f}") for n in (cost.members, cost.expected) if n and fixed.members)
        table.add_row(cost.method, *(cell for pair in shown for cell in pair), f"{cost.days or 0.0:.0f}")
    console.print(table)
    return found


def _cost(method: str, plan: Plan, window_s: int | None = None) -> Cost:
    definition = Definition(
        id="cost",
        hypothesis="",
        owner="",
        variants=(Variant("control", 0.5), Variant("treatment", 0.5)),
        metrics=(Metric("plays", "count", Measure(("play",)), window_s=window_s),),
        primary="plays",
        mde=MDE,
        plan=msgspec.structs.replace(plan, cuped=False, min_days=1.0),
    )
    found = design(definition, BASELINE)
    return Cost(method, found.members, found.expected_members, found.days)
