"""Sentences that say a result to a person who plans a product, not to a statistician: whole, and with the numbers."""

from __future__ import annotations

from typing import Final

from serving.experiments.report import Report
from streams.experiments.definition import Definition

SRM_BLOCKS: Final = (
    "Arms that do not get their declared shares of members are not comparable: find out what loses or adds members in "
    "one of them, then run the experiment anew."
)
STOPPED: Final = "The experiment was stopped, so that no more data will come."


def percent(share: float, signed: bool = False) -> str:
    """Return a share in percent, to three digits.

    >>> percent(0.01234, signed=True), percent(0.5), percent(-0.000012)
    ('+1.23 %', '50 %', '-0.0012 %')
    """
    return f"{share * 100:{'+' if signed else ''}.3g} %"


def count(number: int) -> str:
    """Return a number of members.

    >>> count(1), count(12_345)
    ('1 member', '12,345 members')
    """
    return f"{number:,} member" + ("" if number == 1 else "s")


def days(number: float) -> str:
    """Return a duration.

    >>> days(1.0), days(0.26), days(14)
    ('1 day', '0.3 days', '14 days')
    """
    text = f"{number:.1f}".removesuffix(".0")
    return f"{text} day" + ("" if text == "1" else "s")


def time_is_over(max_days: float) -> str:
    """Say that the experiment has run for as long as it may."""
    return f"The experiment has run for the {days(max_days)} that it was given."


def looks_are_over(members: int) -> str:
    """Say that no planned look is left."""
    return f"The last planned look was taken, at {count(members)}."


def too_few_days(run: float, least: float) -> str:
    """Say that the plan asks for more days."""
    return f"It has run for {days(run)}; the plan asks for {days(least)} at least, so that every weekday counts."


def too_few_members(members: int, least: int) -> str:
    """Say that the plan asks for more members."""
    return f"It has {count(members)}; the plan asks for {least:,} at least."


def also_better(variant: str, best: str) -> str:
    """Say that another treatment might be shipped, too."""
    return f"{variant} is better than the control, too; {best} has the larger estimate, which does not prove it best."


def no_effect_yet(report: Report, definition: Definition, variant: str) -> str:
    """Say why a treatment's effect on the primary metric is not known."""
    plan = definition.plan
    if plan.method != "sequential" and not report.planned and plan.planned_members:
        looks = plan.looks if plan.method == "group_sequential" else 1
        return (
            f"The first planned look comes at {-(-plan.planned_members // looks):,} members; there are "
            f"{report.members:,} by now."
        )
    found = report.effect(report.primary, variant)
    reason = (found.effect.reason if found else None) or "no members yet"
    return f"Of the effect of {variant} on {report.primary} nothing can be said yet: {reason}."
