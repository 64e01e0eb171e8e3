"""The arms of an experiment, added up from its aggregates as the plan wants them compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from serving.experiments.report import ArmResult, ExposureResult
from streams.experiments.definition import Definition
from streams.experiments.metric import Metric
from streams.experiments.moments import D, Moments, Y

STRATA: Final = ("fresh", "degraded")
Stratum = tuple[Moments, Moments]
"""Of control and treatment."""


@dataclass(frozen=True)
class Aggregate:
    variant: str
    stratum: str
    segment: str
    members: int
    crossed: int = 0
    moments: dict[str, Moments] = field(default_factory=dict)


class Arms:
    """Sums over days and partitions, by variant, stratum and segment."""

    def __init__(self, definition: Definition, aggregates: Iterable[Aggregate]) -> None:
        self._definition = definition
        self._members: dict[tuple[str, str], int] = defaultdict(int)
        self._crossed: dict[str, int] = defaultdict(int)
        self._moments: dict[tuple[str, str, str, str], Moments] = defaultdict(Moments)
        for each in aggregates:
            if each.segment == "":
                self._members[each.variant, each.stratum] += each.members
                self._crossed[each.variant] += each.crossed
            for metric, moments in each.moments.items():
                self._moments[each.segment, each.variant, each.stratum, metric] += moments
        self._counted = ("fresh",) if definition.plan.degraded == "exclude" else STRATA

    @property
    def counts(self) -> dict[str, int]:
        """Members by arm whose outcomes are compared; arms that nobody declared are there if they have members."""
        declared = {variant.key: 0 for variant in self._definition.variants}
        for (variant, stratum), members in self._members.items():
            if stratum in self._counted and (members or variant in declared):
                declared[variant] = declared.get(variant, 0) + members
        return declared

    @property
    def members(self) -> int:
        """Members of all arms whose outcomes are compared."""
        return sum(self.counts.values())

    @property
    def segments(self) -> list[str]:
        """The segments that have outcomes, by name."""
        return sorted({segment for segment, *_ in self._moments if segment})

    def moments(self, metric: str, variant: str, segment: str = "") -> Moments:
        """Return the sums of one arm over all members who are compared."""
        parts = (self._moments.get((segment, variant, stratum, metric), Moments()) for stratum in self._counted)
        return sum(parts, Moments())

    def strata(self, metric: str, treatment: str, segment: str = "") -> list[Stratum]:
        """Return the pairs of sums to compare: one, or one for each stratum where the plan says so."""
        arms = (self._definition.variants[0].key, treatment)
        if self._definition.plan.degraded != "stratify":
            control, treated = (self.moments(metric, arm, segment) for arm in arms)
            return [(control, treated)]
        cells = ([self._moments.get((segment, arm, stratum, metric), Moments()) for arm in arms] for stratum in STRATA)
        return [(control, treated) for control, treated in cells]

    def degraded(self, variant: str) -> Moments:
        """Return as moments how many of an arm's members were first exposed on a degraded page: 1 for each of them."""
        whole, some = (self._members[variant, "fresh"], self._members[variant, "degraded"])
        return _times(Moments.of(0), whole) + _times(Moments.of(1_000_000), some)

    def exposures(self) -> tuple[ExposureResult, ...]:
        """Return the members of each declared arm, those on degraded pages included though they may not be compared."""
        return tuple(
            ExposureResult(
                variant.key,
                sum(self._members[variant.key, stratum] for stratum in STRATA),
                self._members[variant.key, "degraded"],
                self._crossed[variant.key],
            )
            for variant in self._definition.variants
        )

    def results(self, metric: Metric) -> tuple[ArmResult, ...]:
        """Return the value of a metric in each arm."""
        return tuple(self._result(metric, variant.key) for variant in self._definition.variants)

    def _result(self, metric: Metric, variant: str) -> ArmResult:
        found = self.moments(metric.name, variant)
        below = found.sums[D]
        return ArmResult(variant, found.n, found.sums[Y] / below if below else None)


def _times(moments: Moments, number: int) -> Moments:
    return Moments(
        number, tuple(number * each for each in moments.sums), tuple(number * each for each in moments.products)
    )
