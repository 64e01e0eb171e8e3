"""When a planned look is due: what methods that look a few times, or once, may count as a look."""

from __future__ import annotations

from collections.abc import Sequence

from serving.experiments.analysis.group_sequential import MIN_STEP, stage
from serving.experiments.report import PlannedLook
from streams.experiments.definition import Plan


def looks_of(plan: Plan) -> int:
    """Return how many looks are planned; 0 where any look counts."""
    return {"sequential": 0, "group_sequential": plan.looks, "fixed": 1}[plan.method]


def due_look(plan: Plan, members: int, days: float, taken: Sequence[PlannedLook], now_ms: int) -> PlannedLook | None:
    """Return the planned look that is to be taken now, None if there is none.

    One is due with each share `1 / looks` of the planned members, but none before the plan's min_days and min_members,
    when nothing could be decided by it. When max_days are over the last is due, however many members there are. One
    look may make up for several that were missed.
    """
    looks, planned = looks_of(plan), plan.planned_members
    if not looks or planned is None or (taken and taken[-1].last):
        return None
    if members < max(plan.min_members, 1) or days < plan.min_days:
        return None
    before = taken[-1].members if taken else 0
    reached, is_over = stage(members, planned, looks), days >= plan.max_days
    if not is_over and reached <= stage(before, planned, looks):
        return None
    if (members - before) / planned < MIN_STEP:
        return None
    return PlannedLook(now_ms, members, members / planned, last=is_over or reached == looks)
