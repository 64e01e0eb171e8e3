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
from streams.experiments.metric import Direction

MIN_TUNED_FOR = 1_000.0
"""Members of an experiment: a plan that asks for none at all still has an interval."""


def effect_by_plan(
    found: Comparison | Undefined, plan: Plan, alpha: float, looks: Sequence[PlannedLook], share: float
) -> Effect:
    """Return the effect at this look.

    looks: the planned ones up to and with this; share: of the experiment's members, what the two arms are to get.
    """
    if plan.method == "sequential":
        return sequential(found, alpha, tuned_for(plan, share))
    if plan.method == "fixed":
        return welch(found, alpha)
    fractions = [look.fraction for look in looks]
    return planned_look(found, fractions, alpha, plan.spending, final=looks[-1].last)


def power_left(
    found: Comparison | Undefined, definition: Definition, alpha: float, looks: Sequence[PlannedLook], share: float
) -> float | None:
    """Return the chance that the declared effect, if it is there, is found with all planned members; None where it
    cannot be told, or no number of members was planned."""
    plan = definition.plan
    if plan.planned_members is None:
        return None
    direction = direction_of(definition, definition.primary)
    end = _last_multiplier(plan, alpha, looks, share)
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


def _last_multiplier(plan: Plan, alpha: float, looks: Sequence[PlannedLook], share: float) -> float:
    """Return how many standard errors the interval will reach with all planned members."""
    if plan.method == "sequential":
        planned = share * (plan.planned_members or 0)
        return float(multiplier(information(planned, tuned_for(plan, share), alpha), alpha))
    if plan.method == "fixed":
        return -float(ndtri(alpha / 2.0))
    fractions = [look.fraction for look in looks if look.fraction <= 1.0 - MIN_STEP]
    return boundaries([*fractions, 1.0], alpha, plan.spending)[-1].z
