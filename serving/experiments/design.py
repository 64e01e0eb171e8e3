"""How long an experiment must run: power and smallest effect by duration, from what is known of the metric so far.

Members are taken to come evenly, `members_a_day` of them, each for the first time; windows of the metric are not waited
for, and neither ramps nor targeting are reckoned with. The fixed and the group-sequential method are shown as planned
for each duration; of the sequential one `power` is of having found the effect by then at one of the daily looks
(`sequential_power`), and `mde` by the width at that one look, which is a little cautious.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Final

import msgspec

from serving.experiments.analysis.effect import Method
from serving.experiments.analysis.multiple import alpha_each
from serving.experiments.analysis.ratio import arm_of
from serving.experiments.design_pair import MAX_DAYS, DesignPoint, Pair
from serving.experiments.effects import is_primary_soon_complete
from serving.experiments.explanation import count, percent
from streams.errors import FixRequest
from streams.experiments.definition import Definition, Plan
from streams.experiments.moments import Moments

_MOST: Final = 0.95
"""Of a correlation that is believed: two or three members correlate perfectly by chance."""
TARGETED: Final = " That is with all members; targeting leaves some of them out, and it takes the longer."


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of a metric before the experiment. mean: its value; variance: of one member's number (of a ratio:
    linearised, see `ratio`). members_a_day: who come for the first time, of all members. correlation: of a member's
    number with the one before, for CUPED."""

    mean: float
    variance: float
    members_a_day: float
    correlation: float = 0.0


class Design(msgspec.Struct, frozen=True):
    """What the declared effect takes. members, days: until it is found with the declared power (of the sequential
    method: by one of the daily looks), None if not within MAX_DAYS. expected_members, expected_days: on average, if
    the effect is as declared and one stops when it is found. inflation: members over those of the fixed method.
    variance_reduction: expected of CUPED. alpha: of each treatment."""

    method: Method
    mde: float
    alpha: float
    power: float
    baseline: Baseline
    members: int | None
    days: float | None
    expected_members: int | None
    expected_days: float | None
    inflation: float | None
    variance_reduction: float
    curve: tuple[DesignPoint, ...]
    sentence: str


def baseline_of(moments: Moments, members_a_day: float) -> Baseline:
    """Return the baseline that members' moments amount to. Raises FixRequest where they say nothing yet."""
    arm = arm_of([moments], [Fraction(1)])
    if isinstance(arm, str):
        raise FixRequest("metric", f"there is no baseline for it: {arm}; wait for events, or give mean and variance")
    spread = arm.variance * arm.covariate_variance
    correlation = arm.covariance / math.sqrt(spread) if spread > 0.0 else 0.0
    return Baseline(arm.value, arm.variance * arm.n, members_a_day, max(-_MOST, min(_MOST, correlation)))


def design(definition: Definition, baseline: Baseline) -> Design:
    """Return what the definition's effect takes, of the treatment that gets the fewest members.

    Raises FixRequest naming the field for numbers that nothing can be reckoned from.
    """
    _check(definition, baseline)
    plan = definition.plan
    weights = _weights(definition)
    treatment = min(weights[1:])
    pair = weights[0] + treatment
    one = Pair(
        plan=plan,
        alpha=alpha_each(plan.alpha, len(weights) - 1),
        variance=baseline.variance * (1.0 - baseline.correlation**2 if plan.cuped else 1.0),
        control=weights[0] / pair,
        treatment=treatment / pair,
        share=pair,
        members_a_day=baseline.members_a_day * definition.traffic * (1.0 - definition.holdout) * pair,
        difference=abs(definition.mde * baseline.mean),
        mean=abs(baseline.mean),
        joint=is_primary_soon_complete(definition),
    )
    needed, expected, inflated = one.needed()
    days = None if needed is None else max(plan.min_days, needed / one.members_a_day)
    return Design(
        method=plan.method,
        mde=definition.mde,
        alpha=one.alpha,
        power=plan.power,
        baseline=baseline,
        members=None if needed is None else math.ceil(needed / pair),
        days=days,
        expected_members=None if expected is None else math.ceil(expected / pair),
        expected_days=None if expected is None else max(plan.min_days, expected / one.members_a_day),
        inflation=inflated,
        variance_reduction=baseline.correlation**2 if plan.cuped else 0.0,
        curve=one.curve(MAX_DAYS if days is None else days),
        sentence=_sentence(plan, definition.mde, days, None if needed is None else needed / pair)
        + (TARGETED if definition.targeting else ""),
    )


def _check(definition: Definition, baseline: Baseline) -> None:
    plan = definition.plan
    weights = _weights(definition)
    for field, is_right, fix in (
        ("variants", len(weights) >= 2 and definition.variants[0].weight > 0.0, "give two or more a weight above 0"),
        ("mde", math.isfinite(definition.mde) and definition.mde != 0.0, "give the smallest effect worth finding"),
        ("traffic", 0.0 < definition.traffic <= 1.0, "give a share above 0"),
        ("holdout", 0.0 <= definition.holdout < 1.0, "give a share below 1"),
        ("plan.alpha", 0.0 < plan.alpha < 1.0, "give a probability between 0 and 1"),
        ("plan.power", plan.alpha < plan.power < 1.0, "give a probability between alpha and 1"),
        ("plan.min_members", plan.min_members > 0 or plan.method != "sequential", "give 1 or more"),
        ("baseline.mean", math.isfinite(baseline.mean) and baseline.mean != 0.0, "give a number other than 0"),
        ("baseline.variance", 0.0 < baseline.variance < math.inf, "give a number above 0; nothing varies here"),
        ("baseline.members_a_day", 0.0 < baseline.members_a_day < math.inf, "give a number above 0"),
        ("baseline.correlation", abs(baseline.correlation) < 1.0, "give a number between -1 and 1"),
    ):
        if not is_right:
            raise FixRequest(field, fix)


def _weights(definition: Definition) -> list[float]:
    """Return the weights of the arms that get members."""
    return [variant.weight for variant in definition.variants if variant.weight > 0.0]


def _sentence(plan: Plan, mde: float, days: float | None, members: float | None) -> str:
    if days is None or members is None:
        return (
            f"With so many members a day a change of {percent(abs(mde))} is not found within {MAX_DAYS} days: "
            "look for a larger one, let more members take part, or choose a metric that varies less."
        )
    return (
        f"A change of {percent(abs(mde))} takes about {count(math.ceil(members))}, {math.ceil(days):,} days; "
        f"if it is there, it is found by then in {percent(plan.power)} of such experiments."
    )
