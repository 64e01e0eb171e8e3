"""78 real experiments (ASOS Digital Experiments Dataset; Liu, Cardoso, Couturier and McCoy, NeurIPS 2021): what each
method would have decided, and when.

The data holds, for each treatment, metric and half a day or day, both arms' members, means and variances so far. What
members do goes on after they came, so an arm's mean grows with time, and successive looks are not quite sums of
independent members: the guarantees hold for the data that they were made for, these show what would be seen. Some rows
were read while the data moved: one arm's mean is newer than the other's, and the difference jumps for this row alone.
The platform's aggregates are of one moment; here `twice` asks for two rows in succession.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pyarrow.parquet as pq

from load_tests.experiments.real import DATA
from serving.experiments.analysis.comparison import Comparison, compare
from serving.experiments.analysis.confidence_sequence import sequential
from serving.experiments.analysis.effect import Effect
from serving.experiments.analysis.group_sequential import counted
from serving.experiments.analysis.planned_look import planned_look
from serving.experiments.analysis.welch import welch
from streams.experiments.definition import Plan
from streams.experiments.moments import SCALE, Moments

ASOS: Final = DATA / "asos" / "asos_digital_experiments_dataset.parquet"
PLAN: Final = Plan()


class Look(msgspec.Struct, frozen=True):
    """One row: time in days, and members, mean and variance of control and treatment so far."""

    days: float
    members: tuple[int, int]
    means: tuple[float, float]
    variances: tuple[float, float]


class Series(msgspec.Struct, frozen=True):
    """One treatment's looks in one metric, in order of time."""

    experiment: str
    treatment: int
    metric: int
    looks: tuple[Look, ...]


class Decided(msgspec.Struct, frozen=True):
    """What became of a series. Each is None (nothing found) or (share of the horizon's time, sign of the effect)."""

    series: Series
    sequential: tuple[float, int] | None
    twice: tuple[float, int] | None
    untuned: tuple[float, int] | None
    group_sequential: tuple[float, int] | None
    peeked: tuple[float, int] | None
    at_end: tuple[float, int] | None


def read_asos(file: Path = ASOS) -> list[Series]:
    """Return the series that have variances; rows without members are left out."""
    rows: dict[tuple[str, int, int], list[Look]] = {}
    for row in pq.read_table(file).to_pylist():
        looks = rows.setdefault((row["experiment_id"], row["variant_id"], row["metric_id"]), [])
        variances = (row["variance_c"], row["variance_t"])
        members = (int(row["count_c"]), int(row["count_t"]))
        if min(members) >= 2 and all(variance is not None and np.isfinite(variance) for variance in variances):
            looks.append(Look(row["time_since_start"], members, (row["mean_c"], row["mean_t"]), variances))
    return [
        Series(*key, tuple(sorted(looks, key=lambda look: look.days)))
        for key, looks in sorted(rows.items())
        if looks and sum(looks[-1].members) >= PLAN.min_members
    ]


def generated(seed: int, experiments: int = 78, days: int = 30) -> list[Series]:
    """Return experiments in its place: two thirds without an effect, some thousand members a day."""
    rng = np.random.default_rng(seed)
    result = []
    for number in range(experiments):
        a_day, spread = int(rng.integers(500, 20_000)), rng.uniform(0.5, 5.0)
        effect = rng.normal(0.0, 0.03) if rng.random() < 1 / 3 else 0.0
        means = [rng.normal(mean, spread / np.sqrt(a_day), days) for mean in (1.0, 1.0 + effect)]
        sums = [np.cumsum(each) / np.arange(1, days + 1) for each in means]
        looks = tuple(
            Look(day + 1.0, (a_day * (day + 1),) * 2, (float(sums[0][day]), float(sums[1][day])), (spread**2,) * 2)
            for day in range(days)
        )
        result.append(Series(f"generated-{number}", 1, 1, looks))
    return result


def decide(series: Series, alpha: float) -> Decided:
    """Return what each method finds first, and the fixed one at the end. planned members: those at the end."""
    usable = [look for look in series.looks if sum(look.members) >= PLAN.min_members]
    compared = [compare(*(_moments(look, arm) for arm in (0, 1))) for look in usable]
    planned, end = sum(usable[-1].members), usable[-1].days

    def first(effects: Sequence[Effect], looks: Sequence[Look]) -> tuple[float, int] | None:
        for effect, look in zip(effects, looks, strict=True):
            if effect.found and effect.difference is not None:
                return look.days / end, 1 if effect.difference > 0 else -1
        return None

    fixed = [welch(found, alpha) for found in compared]
    always = [sequential(found, alpha, planned) for found in compared]
    places = counted([sum(look.members) for look in usable], planned, PLAN.looks)
    fractions = [sum(usable[place].members) / planned for place in places]
    grouped = [
        planned_look(compared[place], fractions[: number + 1], alpha, PLAN.spending, joint=False)
        for number, place in enumerate(places)
    ]
    return Decided(
        series,
        sequential=first(always, usable),
        twice=first(*_again(always, usable)),
        untuned=first([sequential(found, alpha, 10.0 * PLAN.min_members) for found in compared], usable),
        group_sequential=first(grouped, [usable[place] for place in places]),
        peeked=first(fixed, usable),
        at_end=first(fixed[-1:], usable[-1:]),
    )


def _again(effects: Sequence[Effect], looks: Sequence[Look]) -> tuple[list[Effect], list[Look]]:
    """Return the effects that were found with the same sign at the look before, and their looks."""
    kept = [
        (now, look)
        for before, now, look in zip(effects, effects[1:], looks[1:], strict=False)
        if before.found and now.found and ((before.difference or 0.0) > 0.0) == ((now.difference or 0.0) > 0.0)
    ]
    return [effect for effect, _ in kept], [look for _, look in kept]


def intervals(series: Series, alpha: float) -> list[tuple[float, Effect, Effect]]:
    """Return (days, sequential effect, fixed effect) of each look that there is something to compare at."""
    planned = sum(series.looks[-1].members)
    result = []
    for look in series.looks:
        found = compare(*(_moments(look, arm) for arm in (0, 1)))
        if isinstance(found, Comparison) and found.n >= PLAN.min_members:
            result.append((look.days, sequential(found, alpha, planned), welch(found, alpha)))
    return result


def _moments(look: Look, arm: int) -> Moments:
    """Return moments with these members, mean and variance, to a millionth of a member's unit."""
    n, mean, variance = look.members[arm], look.means[arm], look.variances[arm]
    total = round(n * mean * SCALE)
    square = round(((n - 1) * variance + n * mean * mean) * SCALE * SCALE)
    one, ones = n * SCALE, n * SCALE * SCALE
    by_one = total * SCALE
    return Moments(n, (total, one, 0, one), (square, by_one, 0, by_one, ones, 0, ones, 0, 0, ones))
