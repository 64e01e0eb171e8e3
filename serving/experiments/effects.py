"""Effects by the method that the plan declared."""

from __future__ import annotations

from collections.abc import Sequence

from scipy.special import ndtri

from serving.experiments.analysis.comparison import Comparison, Undefined
from serving.experiments.analysis.confidence_sequence import information, members_tuned_for, multiplier, sequential
from serving.experiments.analysis.effect import Effect
from serving.experiments.analysis.futility import conditional_power
from serving.experiments.analysis.group_sequential import MIN_STEP, boundaries
from serving.experiments.analysis.planned_look import planned_look
from serving.experiments.analysis.welch import welch
from serving.experiments.report import Outcome, PlannedLook
from streams.experiments.definition import Definition, Plan
from streams.experiments.metric import Direction, Metric

DAY_S = 86_400

COMPLETE_IN = 1.0 / 7.0
"""Of the plan's min_days: numbers whose window is no longer are taken as complete when a member comes. Between looks,
which come after these days, that makes 5.04 % of alpha 5 % (5 looks like O'Brien and Fleming) at most, 5.11 % of 50
like Pocock; windows as long as min_days would make 5.4 and 6.1 %. Members are taken to come evenly: the days count from
the last step of a ramp on, after which most of them may come."""

MIN_TUNED_FOR = 1_000.0
"""Members of an experiment: a plan that asks for none at all still has an interval."""


def effect_by_plan(
    found: Comparison | Undefined,
    metric: Metric,
    definition: Definition,
    alpha: float,
    looks: Sequence[PlannedLook],
    share: float,
) -> Effect:
    """Return the effect at this look.

    looks: the planned ones up to and with this; share: of the experiment's members, what the two arms are to get.
    """
    plan = definition.plan
    if plan.method == "sequential":
        return sequential(found, alpha, tuned_for(plan, share))
    if plan.method == "fixed":
        return welch(found, alpha)
    fractions = [look.fraction for look in looks]
    joint = is_soon_complete(metric, definition)
    return planned_look(found, fractions, alpha, plan.spending, final=looks[-1].last, joint=joint)


def is_soon_complete(metric: Metric, definition: Definition) -> bool:
    """Return whether members' numbers stop growing so soon after they came that planned looks may take them as
    complete."""
    ramped_s = definition.ramp[-1].after_s if definition.ramp else 0
    evenly_s = definition.plan.min_days * DAY_S - ramped_s
    return metric.window_s is not None and metric.window_s <= COMPLETE_IN * evenly_s


def is_primary_soon_complete(definition: Definition) -> bool:
    """Return the same of the primary metric."""
    primary = (metric for metric in definition.metrics if metric.name == definition.primary)
    return any(is_soon_complete(metric, definition) for metric in primary)


def power_left(
    found: Comparison | Undefined, definition: Definition, alpha: float, looks: Sequence[PlannedLook], share: float
) -> float | None:
    """Return the chance that the declared effect, if it is there, is found with all planned members; None where it
    cannot be told, or no number of members was planned."""
    plan = definition.plan
    if plan.planned_members is None:
        return None
    direction = direction_of(definition, definition.primary)
    end = _last_multiplier(definition, alpha, looks, share)
    planned, cautious = share * plan.planned_members, plan.method != "fixed"
    return conditional_power(found, definition.mde, direction, planned, end, cautious=cautious)


def tuned_for(plan: Plan, share: float) -> float:
    """Return at how many members of two arms a confidence sequence is to be narrowest."""
    return max(members_tuned_for(plan, share), share * MIN_TUNED_FOR)


def treatments_of(definition: Definition) -> list[str]:
    """Return the variants to be held against the control; one of no weight gets no members and does not count."""
    return [variant.key for variant in definition.variants[1:] if variant.weight > 0.0]


def share_of(definition: Definition, treatment: str) -> float:
    """Return the share of the experiment's members that the control and a treatment get together."""
    weights = {variant.key: variant.weight for variant in definition.variants}
    return weights[definition.variants[0].key] + weights[treatment]


def direction_of(definition: Definition, metric: str) -> Direction:
    """Return which way of a metric is better."""
    return next((each.direction for each in definition.metrics if each.name == metric), "increase")


def outcome_of(effect: Effect, p_adjusted: float | None, alpha: float, direction: Direction) -> Outcome:
    """Return what an effect comes to: its interval excludes 0, and other tests beside it leave that standing."""
    if effect.difference is None or (effect.low is None and effect.p_value is None):
        return "no_data"
    if not effect.found or (p_adjusted is not None and p_adjusted > alpha):
        return "unsure"
    return "better" if (effect.difference > 0) == (direction == "increase") else "worse"


def _last_multiplier(definition: Definition, alpha: float, looks: Sequence[PlannedLook], share: float) -> float:
    """Return how many standard errors the primary metric's interval will reach with all planned members."""
    plan = definition.plan
    if plan.method == "sequential":
        planned = share * (plan.planned_members or 0)
        return float(multiplier(information(planned, tuned_for(plan, share), alpha), alpha))
    if plan.method == "fixed":
        return -float(ndtri(alpha / 2.0))
    fractions = [look.fraction for look in looks if look.fraction <= 1.0 - MIN_STEP]
    return boundaries([*fractions, 1.0], alpha, plan.spending, joint=is_primary_soon_complete(definition))[-1].z
