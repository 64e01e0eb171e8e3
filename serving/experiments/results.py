"""An experiment's aggregates put through its plan: one `Report`. Pure: the same data, look before and time, the same
report.

What earlier looks have found for good is taken from the last one: the smallest p-value for a sample ratio mismatch,
harm to guardrails and, of methods with planned looks, these looks with the effects that they saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from serving.experiments import explanation
from serving.experiments.analysis.comparison import compare
from serving.experiments.analysis.confidence_sequence import sequential
from serving.experiments.analysis.srm import sample_ratio
from serving.experiments.arms import Arms
from serving.experiments.effects import power_left, share_of, tuned_for
from serving.experiments.guardrail_results import guardrail_results
from serving.experiments.looking import Looking
from serving.experiments.looks import Look
from serving.experiments.metric_results import metric_results, segment_results
from serving.experiments.report import FutilityResult, MetricResult, Report, SrmResult
from streams.experiments.aggregates import Aggregate
from streams.experiments.definition import Experiment

CROSSED: Final = 0.01
"""Share of members seen in two arms from which on a reader should know: allocation or ids are not stable."""

SILENT_MS: Final = 10 * 60_000
"""After so long without any member a reader should ask whether exposures are logged at all."""


def report_of(
    experiment: Experiment,
    aggregates: Iterable[Aggregate],
    last: Look | None,
    now_ms: int,
    *,
    data_ms: int | None = None,
    takes_look: bool = False,
    moved: Sequence[str] = (),
) -> Report:
    """Return the results of an experiment.

    last: the newest stored look. data_ms: of the newest data in the aggregates. takes_look: whether a planned look that
    is due is taken now; only who stores it may say so. Otherwise effects are those of the last planned look.
    moved: aliases of models that did not name the same one all the time (see `pinning`).
    """
    looking = Looking.of(experiment, Arms(experiment.definition, aggregates), last, now_ms, takes_look)
    srm, metrics = _srm(looking), metric_results(looking)
    return Report(
        experiment=experiment.definition.id,
        status=experiment.status,
        revision=experiment.revision,
        at_ms=now_ms,
        primary=experiment.definition.primary,
        method=looking.plan.method,
        members=looking.arms.members,
        srm=srm,
        metrics=metrics,
        exposures=looking.arms.exposures(),
        guardrails=guardrail_results(looking),
        segments=segment_results(looking),
        futility=tuple(_futility(looking, metrics)),
        planned=looking.planned,
        started_at_ms=experiment.started_at_ms,
        stopped_at_ms=experiment.stopped_at_ms,
        data_ms=data_ms,
        warnings=(*map(explanation.model_moved, moved), *_warnings(looking)),
    )


def _srm(looking: Looking) -> SrmResult:
    weights = {variant.key: variant.weight for variant in looking.definition.variants}
    before = 1.0 if looking.last is None else looking.last.srm_p_value
    ratio = sample_ratio(looking.arms.counts, weights, looking.plan.srm_alpha, before)
    whole = sum(weights.values())
    shares = {variant: weight / whole for variant, weight in weights.items()}
    result = SrmResult(ratio.mismatch, ratio.p_value, ratio.alpha, ratio.counts, shares, ratio.chi_square_p_value)
    is_past = ratio.mismatch and not sample_ratio(looking.arms.counts, weights, looking.plan.srm_alpha).mismatch
    return replace(result, sentence=explanation.srm_sentence(result, is_past))


def _futility(looking: Looking, metrics: Sequence[MetricResult]) -> Iterator[FutilityResult]:
    """Yield each treatment's chances by now. Who gives up by them can only find less, so any look may say so."""
    least, definition = looking.plan.futility, looking.definition
    if least is None or looking.arms.members < looking.plan.min_members:
        return
    better = {
        each.variant
        for metric in metrics
        for each in metric.effects
        if metric.role == "primary" and each.outcome == "better"
    }
    for treatment in looking.treatments:
        power = _chance(looking, treatment, treatment in better)
        if power is not None:
            result = FutilityResult(treatment, power, power < least)
            yield replace(result, sentence=explanation.futility_sentence(result, definition))


def _chance(looking: Looking, treatment: str, is_better: bool) -> float | None:
    """Return the chance that is left, None where it cannot be told; after the last planned look that look has told."""
    definition, end = looking.definition, looking.planned[-1] if looking.planned else None
    if end is not None and end.last:
        return 0.0 if end.fraction >= 1.0 and not is_better else None
    found, share = looking.compared(definition.primary, treatment), share_of(definition, treatment)
    return power_left(found, definition, looking.alpha, looking.planned, share)


def _warnings(looking: Looking) -> Iterator[str]:
    arms, definition = looking.arms, looking.definition
    exposures = arms.exposures()
    crossed, members = sum(arm.crossed for arm in exposures), sum(arm.members for arm in exposures)
    if crossed > CROSSED * (members + crossed):
        yield explanation.many_crossed(crossed, members)
    for treatment in looking.treatments:
        tuned = tuned_for(looking.plan, share_of(definition, treatment))
        seen = compare(arms.degraded(looking.control), arms.degraded(treatment))
        if sequential(seen, looking.plan.srm_alpha, tuned).found:
            yield explanation.unlike_degraded(looking.control, treatment, exposures, looking.plan.degraded)
    started_ms = looking.experiment.started_at_ms
    silent = looking.experiment.status == "running" and not members and started_ms is not None
    if silent and looking.now_ms - (started_ms or 0) > SILENT_MS:
        yield explanation.SILENT
