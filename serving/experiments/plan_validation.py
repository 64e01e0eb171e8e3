"""Whether a plan of analysis can be followed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from serving.experiments.refusals import Problem
from streams.events import is_valid_id
from streams.experiments.definition import Plan

MAX_DAYS: Final = 365.0
MAX_MEMBERS: Final = 1_000_000_000
MAX_LOOKS: Final = 50
MAX_PRE_PERIOD_S: Final = 90 * 86_400
MAX_SEGMENTS: Final = 5
"""Attributes by which effects are shown; each has a sum per value, metric and day."""

_BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "alpha": (1e-6, 0.2),
    "power": (0.5, 0.999),
    "min_days": (0, MAX_DAYS),
    "max_days": (1e-3, MAX_DAYS),
    "min_members": (0, MAX_MEMBERS),
    "pre_period_s": (0, MAX_PRE_PERIOD_S),
    "srm_alpha": (1e-9, 0.05),
    "looks": (1, MAX_LOOKS),
}


def plan_problems(plan: Plan) -> Iterator[Problem]:
    """Yield all that is wrong with a plan."""
    for name, (low, high) in _BOUNDS.items():
        if not low <= getattr(plan, name) <= high:
            yield Problem(f"plan.{name}", f"give a number from {low:g} to {high:g}")
    if plan.min_days > plan.max_days:
        yield Problem("plan.min_days", f"let it be no more than max_days, {plan.max_days:g}")
    if plan.planned_members is None and plan.method != "sequential":
        yield Problem("plan.planned_members", f"say how many members {plan.method} waits for; the design computes it")
    if plan.planned_members is not None and not 1 <= plan.planned_members <= MAX_MEMBERS:
        yield Problem("plan.planned_members", f"give a number from 1 to {MAX_MEMBERS:g}")
    if plan.method == "group_sequential" and plan.looks < 2:
        yield Problem("plan.looks", "plan two looks at least; one look is the method `fixed`")
    if plan.cuped and plan.pre_period_s == 0:
        yield Problem("plan.pre_period_s", "say how far back CUPED looks, or turn `cuped` off")
    if plan.futility is not None and not 0 < plan.futility < 1:
        yield Problem("plan.futility", "give a chance between 0 and 1, or leave it out")
    elif plan.futility is not None and plan.planned_members is None:
        yield Problem("plan.planned_members", "say by how many members `futility` reckons; the design computes it")
    yield from _segments(plan.segments)


def _segments(segments: tuple[str, ...]) -> Iterator[Problem]:
    if len(segments) > MAX_SEGMENTS:
        yield Problem("plan.segments", f"name at most {MAX_SEGMENTS} attributes")
    if len(set(segments)) != len(segments):
        yield Problem("plan.segments", "name each attribute once")
    if not all(is_valid_id(name) and "=" not in name for name in segments):
        yield Problem("plan.segments", "name attributes such as `country`, without `=` and control characters")
