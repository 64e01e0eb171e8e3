"""The arms of an experiment, added up from its aggregates as the plan wants them compared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from serving.experiments.analysis.comparison import Comparison, Undefined, compare_strata
from serving.experiments.analysis.quantile import Distribution, compare_quantiles
from serving.experiments.report import ArmResult, ExposureResult
from streams.experiments.aggregates import ALL, Aggregate, Sums
from streams.experiments.definition import Definition
from streams.experiments.histogram import upper_edge
from streams.experiments.metric import Metric
from streams.experiments.moments import SCALE, D, Moments, Y

STRATA: Final = ("fresh", "degraded")


class Arms:
    """Sums over days and partitions, by segment, variant and stratum."""

    def __init__(self, definition: Definition, aggregates: Iterable[Aggregate]) -> None:
        self._definition = definition
        self._sums: dict[tuple[str, str, str], Sums] = defaultdict(Sums)
        for cell, sums in aggregates:
            self._sums[cell.segment, cell.variant, cell.stratum] += sums
        self._control = definition.variants[0].key
        self._counted = ("fresh",) if definition.plan.degraded == "exclude" else STRATA

    @property
    def counts(self) -> dict[str, int]:
        """Members by arm whose outcomes are compared; arms that nobody declared are there if they have members."""
        found = {variant.key: 0 for variant in self._definition.variants}
        for (segment, variant, stratum), sums in self._sums.items():
            if segment == ALL and stratum in self._counted and (sums.members or variant in found):
                found[variant] = found.get(variant, 0) + sums.members
        return found

    @property
    def members(self) -> int:
        """Members of all arms whose outcomes are compared."""
        return sum(self.counts.values())

    @property
    def segments(self) -> list[str]:
        """The segments that have members, by name."""
        return sorted({segment for (segment, *_), sums in self._sums.items() if segment != ALL and sums.members})

    def compared(self, metric: Metric, treatment: str, segment: str = ALL) -> Comparison | Undefined:
        """Compare a treatment with the control as the plan says: with CUPED or without, over strata or within each.

        Percentiles are compared as they are: neither does anything for them.
        """
        plan, arms = self._definition.plan, (self._control, treatment)
        if metric.kind == "percentile" and metric.quantile is not None:
            control, treated = (self._histogram(metric.name, arm, segment) for arm in arms)
            return compare_quantiles(control, treated, metric.quantile, _edges)
        if plan.degraded == "stratify":
            parts = [[self._moments(metric.name, arm, (stratum,), segment) for arm in arms] for stratum in STRATA]
        else:
            parts = [[self._moments(metric.name, arm, self._counted, segment) for arm in arms]]
        return compare_strata([(control, treated) for control, treated in parts], cuped=plan.cuped)

    def results(self, metric: Metric) -> tuple[ArmResult, ...]:
        """Return the value of a metric in each arm, as it is: without CUPED."""
        return tuple(self._result(metric, variant.key) for variant in self._definition.variants)

    def degraded(self, variant: str) -> Moments:
        """Return as moments how many of an arm's members were first exposed on a degraded page: 1 for each of them.

        One member more of either kind is imagined: between arms of one kind each, all fresh and all degraded, there
        would be no variance to compare by.
        """
        both = (self._sums[ALL, variant, stratum].members + 1 for stratum in STRATA)
        numbers = (Moments.of(0), Moments.of(SCALE))
        return sum((_times(each, count) for each, count in zip(numbers, both, strict=True)), Moments())

    def exposures(self) -> tuple[ExposureResult, ...]:
        """Return the members of each declared arm, those on degraded pages included though they may not be compared."""
        return tuple(self._exposed(variant.key) for variant in self._definition.variants)

    def _exposed(self, variant: str) -> ExposureResult:
        fresh, degraded = (self._sums[ALL, variant, stratum] for stratum in STRATA)
        return ExposureResult(
            variant, fresh.members + degraded.members, degraded.members, fresh.crossed + degraded.crossed
        )

    def _result(self, metric: Metric, variant: str) -> ArmResult:
        if metric.kind == "percentile" and metric.quantile is not None:
            found = Distribution.of(self._histogram(metric.name, variant, ALL), _edges)
            return ArmResult(variant, found.n, found.at(metric.quantile) if found.n else None)
        moments = self._moments(metric.name, variant, self._counted, ALL)
        below = moments.sums[D]
        return ArmResult(variant, moments.n, moments.sums[Y] / below if below else None)

    def _moments(self, metric: str, variant: str, strata: Iterable[str], segment: str) -> Moments:
        parts = (self._sums[segment, variant, stratum].moments.get(metric, Moments()) for stratum in strata)
        return sum(parts, Moments())

    def _histogram(self, metric: str, variant: str, segment: str) -> Mapping[int, int]:
        counts: dict[int, int] = defaultdict(int)
        for stratum in self._counted:
            for bucket, count in self._sums[segment, variant, stratum].histograms.get(metric, {}).items():
                counts[bucket] += count
        return counts


def _times(moments: Moments, count: int) -> Moments:
    sums, products = ([count * each for each in numbers] for numbers in (moments.sums, moments.products))
    return Moments(count, tuple(sums), tuple(products))


def _edges(bucket: int) -> tuple[float, float]:
    return upper_edge(bucket - 1) if bucket else 0.0, upper_edge(bucket)
