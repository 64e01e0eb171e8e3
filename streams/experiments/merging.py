"""What is known of a member in an experiment, from exposures in any order and the member's history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streams.experiments.aggregates import Counted
from streams.experiments.definition import Experiment
from streams.experiments.outcomes import FirstExposure, outcome_of
from streams.stores.protocol import HistoryRow


def first_of(experiment: Experiment, known: Counted | None, seen: Iterable[FirstExposure]) -> Counted | None:
    """Return a member's first exposure of those known and seen, and the first in another variant; None without any in
    a variant of the experiment before it was stopped. Numbers are left out."""
    before = [] if known is None else [each for each in (known.first, known.other) if each is not None]
    variants = {variant.key for variant in experiment.definition.variants}
    all_seen = [each for each in (*before, *seen) if each.variant in variants and not _is_late(experiment, each)]
    if not all_seen:
        return None
    first = min(all_seen)
    return Counted(first, min((each for each in all_seen if each.variant != first.variant), default=None))


def counted_of(experiment: Experiment, found: Counted, history: Sequence[HistoryRow]) -> Counted:
    """Return what is to be kept of a member, given their history; of one in two variants there are no numbers."""
    if found.crossed:
        return found
    numbers = outcome_of(experiment.definition, found.first, experiment.stopped_at_ms, history)
    return Counted(found.first, None, numbers)


def history_from_ms(experiment: Experiment, first: FirstExposure) -> int:
    """Return from when on a member's history matters."""
    plan = experiment.definition.plan
    return first.at_ms - (plan.pre_period_s * 1000 if plan.cuped else 0)


def _is_late(experiment: Experiment, exposure: FirstExposure) -> bool:
    return experiment.stopped_at_ms is not None and exposure.at_ms >= experiment.stopped_at_ms
