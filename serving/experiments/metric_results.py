"""Each metric's effects, corrected for how many of them there are, and the primary one's in segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from serving.experiments import explanation
from serving.experiments.analysis.confidence_sequence import sequential
from serving.experiments.analysis.multiple import adjusted, benjamini_hochberg
from serving.experiments.effects import effect_by_plan, outcome_of, share_of, tuned_for
from serving.experiments.looking import Looking
from serving.experiments.report import EffectResult, MetricResult, Role, SegmentResult
from streams.experiments.definition import Definition
from streams.experiments.metric import Metric

MAX_SEGMENTS: Final = 200
"""Shown; the agent keeps some tens of each attribute apart."""


def metric_results(looking: Looking) -> tuple[MetricResult, ...]:
    """Return the results of every metric, in the definition's order."""
    metrics = looking.definition.metrics
    roles = {metric.name: role_of(looking.definition, metric.name) for metric in metrics}
    effects = {metric.name: _effects(looking, metric.name, roles[metric.name]) for metric in metrics}
    _correct([effects[metric.name] for metric in metrics if metric.name in looking.definition.secondary], looking)
    return tuple(
        MetricResult(
            metric.name,
            roles[metric.name],
            metric.kind,
            metric.direction,
            looking.arms.results(metric),
            tuple(_judged(looking, metric, effect) for effect in effects[metric.name]),
            metric.description,
        )
        for metric in metrics
    )


def role_of(definition: Definition, metric: str) -> Role:
    """Return what a metric is to the decision; of a metric that is several things, the first."""
    if metric == definition.primary:
        return "primary"
    if any(guardrail.metric == metric for guardrail in definition.guardrails):
        return "guardrail"
    return "secondary" if metric in definition.secondary else "other"


def segment_results(looking: Looking) -> tuple[SegmentResult, ...]:
    """Return the primary metric's effects by segment: valid at any look, and corrected over all of them (Benjamini and
    Hochberg), yet exploratory."""
    metric = next(metric for metric in looking.definition.metrics if metric.name == looking.definition.primary)
    segments, treatments = looking.arms.segments[:MAX_SEGMENTS], looking.treatments
    found = [_in_segment(looking, treatment, segment) for segment in segments for treatment in treatments]
    p_values = benjamini_hochberg([1.0 if each.effect.p_value is None else each.effect.p_value for each in found])
    judged = [
        _judged(looking, metric, replace(each, p_adjusted=p), segment)
        for each, p, segment in zip(found, p_values, [s for s in segments for _ in treatments], strict=True)
    ]
    size = len(treatments)
    return tuple(
        SegmentResult(segment, tuple(judged[place * size : (place + 1) * size]))
        for place, segment in enumerate(segments)
    )


def _effects(looking: Looking, metric: str, role: Role) -> list[EffectResult]:
    """Return each treatment's effect by now or, where no planned look is taken now, as the last one saw it."""
    if not looking.counts:
        seen = [looking.last.effect(metric, treatment) for treatment in looking.treatments] if looking.last else []
        return [effect for effect in seen if effect is not None]
    return [_effect(looking, metric, treatment, role) for treatment in looking.treatments]


def _effect(looking: Looking, metric: str, treatment: str, role: Role) -> EffectResult:
    plan, share = looking.plan, share_of(looking.definition, treatment)
    alpha = looking.alpha if role == "primary" else plan.alpha
    defined = next(each for each in looking.definition.metrics if each.name == metric)
    effect = effect_by_plan(
        looking.compared(metric, treatment), defined, looking.definition, alpha, looking.planned, share
    )
    several = len(looking.treatments) if role == "primary" else 1
    p_adjusted = min(1.0, several * effect.p_value) if several > 1 and effect.p_value is not None else None
    return EffectResult(metric, treatment, "no_data", effect, looking.now_ms, p_adjusted)


def _in_segment(looking: Looking, treatment: str, segment: str) -> EffectResult:
    found = looking.compared(looking.definition.primary, treatment, segment)
    tuned = tuned_for(looking.plan, share_of(looking.definition, treatment))
    effect = sequential(found, looking.plan.alpha, tuned)
    return EffectResult(looking.definition.primary, treatment, "no_data", effect, looking.now_ms)


def _correct(families: Sequence[list[EffectResult]], looking: Looking) -> None:
    """Adjust the p-values of all secondary metrics' effects together; one family, of every metric and treatment. Those
    that are guardrails, too, belong to it."""
    if not looking.counts:
        return
    p_values = [effect.effect.p_value for effects in families for effect in effects]
    corrected = iter(adjusted(p_values, looking.plan.correction))
    for effects in families:
        effects[:] = [replace(effect, p_adjusted=next(corrected)) for effect in effects]


def _judged(looking: Looking, metric: Metric, found: EffectResult, segment: str = "") -> EffectResult:
    outcome = outcome_of(found.effect, found.p_adjusted, looking.plan.alpha, metric.direction)
    judged = replace(found, outcome=outcome)
    return replace(judged, sentence=explanation.effect_sentence(judged, metric, looking.control, segment))
