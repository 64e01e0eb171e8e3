"""Experiments with a past: members who met a variant over some days, what they did, and the looks that were taken."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa
from msgspec.structs import replace

from serving.experiments.lifecycle import Start
from serving.experiments.roles import Actor
from serving.experiments.standing import Standings
from serving.experiments.store import ExperimentStore
from streams.experiments.aggregates import Counted
from streams.experiments.definition import Definition, Experiment
from streams.experiments.merging import counted_of
from streams.experiments.outcome_store import MemberRow, OutcomeStore
from streams.experiments.outcomes import FirstExposure
from streams.stores.protocol import HistoryRow

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
COUNTRIES: Final = ("US", "US", "NL", "DE", "BR")
DEVICES: Final = ("tv", "tv", "phone", "web")
OWNER: Final = Actor("ann", "editor")


class Crowd:
    """Members who come to an experiment, and do at once what they do in it. lift: factors of a variant's plays and
    skips. lost: the share of a variant's exposures that never reach the log, as a defect would have it."""

    def __init__(
        self,
        seed: int,
        lift: Mapping[str, tuple[float, float]] | None = None,
        lost: Mapping[str, float] | None = None,
    ) -> None:
        self._rng = random.Random(seed)
        self._lift = lift or {}
        self._lost = lost or {}
        self._count = 0

    def coming(self, experiment: Experiment, since_ms: int, until_ms: int, members: int) -> Iterator[MemberRow]:
        """Yield so many members, who come within this time."""
        rng, variants = self._rng, experiment.definition.variants
        for _ in range(members):
            self._count += 1
            variant = rng.choices(variants, [each.weight for each in variants])[0].key
            at_ms = rng.randrange(since_ms, until_ms)
            if rng.random() < self._lost.get(variant, 0.0):
                continue
            step = "stale" if rng.random() < 0.01 else "fresh"
            first = FirstExposure(at_ms, self._count, variant, step, rng.choice(COUNTRIES), rng.choice(DEVICES))
            crosses = rng.random() < 0.0005
            other = next(each.key for each in variants if each.key != variant)
            found = Counted(first, replace(first, variant=other) if crosses else None)
            counted = counted_of(experiment, found, list(self._history(variant, at_ms)))
            yield MemberRow(experiment.definition.id, f"m{self._count}", 0, counted)

    def _history(self, variant: str, at_ms: int) -> Iterator[HistoryRow]:
        """Yield a member's events: who plays much in the experiment has done so before."""
        rng = self._rng
        plays, skips = self._lift.get(variant, (1.0, 1.0))
        zeal = rng.gammavariate(2.0, 1.5)
        for kind, mean, when_ms in (
            ("play", zeal, at_ms - DAY_MS),
            ("play", zeal * plays, at_ms),
            ("complete", zeal * plays * 0.45, at_ms),
            ("skip", 1.5 * skips, at_ms),
        ):
            for number in range(_poisson(rng, mean)):
                yield HistoryRow(f"m{self._count}", number, when_ms + number, kind, f"t{number}")


def lived_through(
    sql: sa.Engine, definition: Definition, crowd: Crowd, now_ms: int, *, days: float, looks: int, members: int
) -> Experiment:
    """Return an experiment that was started `days` ago and has had `looks` looks since, with `members` between each."""
    store, rng = ExperimentStore(sql, _no_model), random.Random(1)
    started_ms = now_ms - int(days * DAY_MS)
    store.create(definition, OWNER, started_ms - HOUR_MS)
    experiment = store.act(definition.id, Start(), OWNER, started_ms, rng)
    times = [started_ms + int((now_ms - started_ms) * look / looks) for look in range(looks + 1)]
    for since_ms, until_ms in itertools.pairwise(times):
        with OutcomeStore(sql, definition.id).counting() as counting:
            for row in crowd.coming(experiment, since_ms, until_ms, members):
                counting.replace(definition, None, row)
            counting.note_newest(0, until_ms)
        Standings(sql).take_look(experiment, until_ms)
    return experiment


def _no_model(version: str) -> Any:
    raise AssertionError(f"no model is shipped here, {version} neither")


def _poisson(rng: random.Random, mean: float) -> int:
    """Return how many events come in a time in which `mean` are expected."""
    count, passed = 0, rng.expovariate(1.0)
    while passed < mean:
        count, passed = count + 1, passed + rng.expovariate(1.0)
    return count
