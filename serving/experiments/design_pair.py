"""Power, smallest effect and members needed of a control and one treatment, by duration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from serving.experiments.analysis.power import (
    Looks,
    drift_of,
    fixed_power,
    group_sequential_power,
    inflation,
    members_needed,
    sequential_drift,
    sequential_power,
    standard_error,
)
from serving.experiments.effects import tuned_for
from streams.experiments.definition import Plan

MAX_DAYS: Final = 365
"""Of an experiment: an effect that takes longer to find is as good as not to be found."""
POINTS: Final = 60
"""Of the curve, and looks that the sequential method's power is reckoned with: more change the plot by nothing."""


class DesignPoint(msgspec.Struct, frozen=True):
    """After so many days: members of all arms; power: chance to find the declared effect; mde: the smallest relative
    effect that is found with the declared power."""

    days: float
    members: int
    power: float
    mde: float


class Pair(msgspec.Struct, frozen=True):
    """Control and one treatment: members are those of both here. joint: whether planned looks take the metric's numbers
    as complete (see `effects.is_soon_complete`)."""

    plan: Plan
    alpha: float
    variance: float
    control: float
    treatment: float
    share: float
    members_a_day: float
    difference: float
    mean: float
    joint: bool

    def needed(self) -> tuple[float | None, float | None, float | None]:
        """Return the members needed, those on average, and how many times the fixed method's they are."""
        plan = self.plan
        fixed = self._members(drift_of(self.alpha, plan.power))
        if not math.isfinite(fixed) or fixed > MAX_DAYS * self.members_a_day:
            return None, None, None
        if plan.method == "fixed":
            return fixed, fixed, 1.0
        if plan.method == "group_sequential":
            factor = self._inflation
            looks = self._grouped(self._drift(factor * fixed))
            return self._within(factor * fixed, looks.expected * factor * fixed, factor)
        members = self._sequential_members(fixed)
        if members is None:
            return None, None, None
        grid = self._looks(members)
        looks = sequential_power(grid, self._tuned_for, self.alpha, self._drift(members))
        return members, looks.expected * members, members / fixed

    def curve(self, days: float) -> tuple[DesignPoint, ...]:
        """Return the points up to the plan's end, or twice the days that are needed if that is later."""
        end = min(float(MAX_DAYS), max(self.plan.max_days, math.ceil(2.0 * days)))
        grid = np.unique(np.ceil(np.linspace(1.0, end, POINTS)))
        members = (grid * self.members_a_day).tolist()
        power, inflated = self._power(members), math.sqrt(self._inflation)
        return tuple(
            DesignPoint(day, round(number / self.share), found, self._mde(number, inflated))
            for day, number, found in zip(grid.tolist(), members, power, strict=True)
        )

    @property
    def _tuned_for(self) -> float:
        return tuned_for(self.plan, self.share)

    def _power(self, members: list[float]) -> Sequence[float]:
        plan, drifts = self.plan, [self._drift(number) for number in members]
        if plan.method == "fixed":
            return [fixed_power(drift, self.alpha) for drift in drifts]
        if plan.method == "group_sequential":
            return [self._grouped(drift).power for drift in drifts]
        return sequential_power(members, self._tuned_for, self.alpha, drifts[-1]).by_look

    @property
    def _inflation(self) -> float:
        plan = self.plan
        if plan.method != "group_sequential":
            return 1.0
        return inflation(plan.looks, plan.spending, self.alpha, plan.power, joint=self.joint)

    def _grouped(self, drift: float) -> Looks:
        return group_sequential_power(self.plan.looks, self.plan.spending, self.alpha, drift, joint=self.joint)

    def _mde(self, members: float, inflated: float) -> float:
        if self.plan.method == "sequential":
            drift = sequential_drift(members, self._tuned_for, self.alpha, self.plan.power)
        else:
            drift = inflated * drift_of(self.alpha, self.plan.power)
        return drift * standard_error(self.variance, members, self.control, self.treatment) / self.mean

    def _members(self, drift: float) -> float:
        return members_needed(self.difference, self.variance, self.control, self.treatment, drift)

    def _drift(self, members: float) -> float:
        return self.difference / standard_error(self.variance, members, self.control, self.treatment)

    def _within(
        self, members: float, expected: float, factor: float
    ) -> tuple[float | None, float | None, float | None]:
        return (members, expected, factor) if members <= MAX_DAYS * self.members_a_day else (None, None, None)

    def _looks(self, members: float) -> list[float]:
        """Return the members at daily looks up to these, POINTS of them at most."""
        days = max(1, math.ceil(members / self.members_a_day))
        looks = min(days, POINTS)
        return [members * look / looks for look in range(1, looks + 1)]

    def _sequential_members(self, fixed: float) -> float | None:
        """Return the fewest members, to a thousandth, by which the effect is found with the declared power."""
        low, high = fixed, MAX_DAYS * self.members_a_day

        def found(members: float) -> bool:
            looks = sequential_power(self._looks(members), self._tuned_for, self.alpha, self._drift(members))
            return looks.power >= self.plan.power

        if not found(high):
            return None
        while high > 1.001 * low:
            middle = math.sqrt(low * high)
            low, high = (low, middle) if found(middle) else (middle, high)
        return high
